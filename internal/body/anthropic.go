package body

// anthropic reads the body of a message's request.
func anthropic(o *object, b *Body) error { return nil }
