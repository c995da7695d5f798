package chaos

// proxyErrors come from a proxy before a provider, or are an error that no
// provider means to send. Every protocol has them.
var proxyErrors = []apiError{
	{name: "bad_gateway_html", code: "html", status: 502, proxy: true, body: new(proxyPage)},
	{name: "gateway_timeout_html", code: "html_timeout", status: 504, proxy: true, body: new(proxyPage)},
	{name: "unavailable_text", code: "envoy", status: 503, proxy: true, // Envoy's words for a dead upstream
		body: new("upstream connect error or disconnect/reset before headers. reset reason: connection termination")},
	{name: "empty_body", code: "empty_body", status: 503, proxy: true, body: new("")},
	{name: "broken_json", code: "broken_json", status: 500, body: new(`{"error":{"message":"The server had an err`)},
	{name: "html_in_200", code: "html_in_200", status: 200, proxy: true, body: new(signInPage)},
}

// proxyPage is the page of a proxy that can't reach the provider, as nginx and
// Cloudflare write it.
const proxyPage = "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"

// signInPage is what a network sends that wants its users to sign in first.
const signInPage = "<!DOCTYPE html>\n<html>\n<head><title>Sign in</title></head>\n<body><h1>Welcome</h1><p>Sign in to use this network.</p></body>\n</html>\n"
