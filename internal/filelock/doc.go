// Package filelock locks a file for this process, by the means of the system, which gives
// the lock back when the process ends, however it ends: nobody has to remove anything.
package filelock
