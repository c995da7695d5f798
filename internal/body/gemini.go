package body

// gemini reads the body of a request to generate content.
func gemini(o *object, b *Body) error { return nil }
