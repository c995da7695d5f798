//go:build !unix

package servers

// Pause skips the test: there is no SIGSTOP.
func (s *Server) Pause() { s.t.Skip("there is no SIGSTOP on this system") }

// Resume skips the test: there is no SIGCONT.
func (s *Server) Resume() { s.t.Skip("there is no SIGCONT on this system") }
