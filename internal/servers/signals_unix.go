//go:build unix

package servers

import "syscall"

// Pause stops a server by SIGSTOP: its connections last, and nothing answers.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Resume has a server go on that was paused.
func (s *Server) Resume() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}
