// Serves a GGUF by llama.cpp itself, behind OpenAI's chat completions: a real
// sampler, on the loopback address alone. It prints its port.
//
// node serve.mjs tiny-json-2.gguf
import http from 'node:http';
import { getLlama, LlamaCompletion } from 'node-llama-cpp';

const llama = await getLlama({ build: 'never', gpu: false, logLevel: 'error', maxThreads: 1 });
const model = await llama.loadModel({ modelPath: process.argv[2] });
const context = await model.createContext({ contextSize: 1024, threads: 1 });
const sequence = context.getSequence();

// The form of a conversation that the model was trained on. A character is a token.
const prompt = (messages) =>
  messages.map((m) => (m.role === 'assistant' ? 'A: ' : 'Q: ') + m.content + '\n').join('') + 'A: ';

async function complete(request) {
  const completion = new LlamaCompletion({ contextSequence: sequence });
  try {
    return await completion.generateCompletion(prompt(request.messages), {
      maxTokens: 120, temperature: request.temperature, seed: request.seed, customStopTriggers: ['\nQ:'],
    });
  } finally {
    completion.dispose();
  }
}

let turn = Promise.resolve(); // there is one sequence: requests wait for each other
const server = http.createServer((req, res) => {
  let body = '';
  req.on('data', (data) => { body += data; }).on('end', () => {
    turn = turn.then(async () => {
      try {
        const request = JSON.parse(body);
        const text = await complete(request);
        const usage = { prompt_tokens: prompt(request.messages).length + 1, completion_tokens: text.length };
        res.writeHead(200, { 'content-type': 'application/json' });
        res.end(JSON.stringify({ choices: [{ message: { role: 'assistant', content: text }, finish_reason: 'stop' }], usage }));
      } catch (e) {
        res.writeHead(500).end(String(e));
      }
    });
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume(); // the test that started it is gone
