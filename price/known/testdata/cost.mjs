// Reads questions, one on each line, and answers what the package says that each call costs, in dollars.
import { calcPrice } from '@pydantic/genai-prices'
import { readFileSync, writeFileSync } from 'node:fs'
import { argv } from 'node:process'

const answers = readFileSync(argv[2], 'utf8').trim().split('\n').map(line => {
  const { provider, model, at, usage } = JSON.parse(line)
  const found = calcPrice(usage, model, { providerId: provider, timestamp: new Date(at) })
  return JSON.stringify(found && { id: found.model.id, keys: Object.keys(found.model_price), from: found.provider.id, dollars: found.total_price })
})
writeFileSync(argv[3], answers.join('\n') + '\n')
