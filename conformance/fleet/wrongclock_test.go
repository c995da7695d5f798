//go:build wrongclock

package fleet

import "time"

func init() { setClock = time.SetClock }
