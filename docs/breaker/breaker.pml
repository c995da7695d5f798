/*
 * The circuit breaker as a design: states, places for probes, leases,
 * generations. README.md says how to check it and what came out.
 *
 * Each operation is one step here, as it is in the code (the histories that the
 * tests record are linearizable). Time is left out: a recovery time and a lease
 * run out at any moment after they began, sooner or later.
 */

#define CALLERS   3  /* goroutines that make calls, for ever */
#ifndef PLACES
#define PLACES    2  /* HalfOpenProbes */
#endif
#define NEEDED    2  /* SuccessThreshold */
#define THRESHOLD 2  /* FailureThreshold, by the count alone */
#define BY_HAND   2  /* Trip and Reset, so many times in all */

mtype = { CLOSED, OPEN, HALF_OPEN };
mtype state = CLOSED;

bool recovered;   /* OPEN: the recovery time has come */
byte failures;    /* CLOSED */
byte passed;      /* HALF_OPEN: probes that succeeded */
byte taken;       /* HALF_OPEN: places taken, as the breaker counts them */

/* Permits. Generations grow without end; all that is asked of them is whether
 * that of a permit is the current one, so a permit keeps how many have begun
 * since its own, and 1 stands for any number. */
bool held[CALLERS];
byte since[CALLERS];
bool place[CALLERS];   /* it has a place as a probe */
byte orphans;          /* places whose caller is gone for good */

bool admitted;    /* the last call that asked was let through */
bool well;        /* the service works, from now on */
byte byHand;

#ifdef NO_GENERATIONS
#define LATE(i) false
#else
#define LATE(i) (since[i] != 0)
#endif

inline turn(next) {
	state = next;
	recovered = false;
	failures = 0;
	passed = 0;
	taken = 0;
	orphans = 0;
	for (j : 0 .. CALLERS - 1) {
		if
		:: held[j] -> since[j] = 1
		:: else
		fi
	}
	j = 0
}

inline forget(i) {
	held[i] = false;
	since[i] = 0;
	place[i] = false
}

/* What is reported may change the breaker only in the generation in which the
 * call was admitted. */
inline report(i, success, failure) {
	if
	:: LATE(i)
	:: else ->
		assert(since[i] == 0); /* else it is the state of others that it changes */
		if
		:: place[i] -> taken--
		:: else
		fi;
		if
		:: state == CLOSED && failure ->
			failures++;
			if
			:: failures == THRESHOLD -> turn(OPEN)
			:: else
			fi
		:: state == HALF_OPEN && failure -> turn(OPEN)
		:: state == HALF_OPEN && success ->
			passed++;
			if
			:: passed == NEEDED -> turn(CLOSED)
			:: else
			fi
		:: else
		fi
	fi;
	forget(i)
}

proctype Caller(byte i) {
	byte j;
	do
	:: !held[i] -> atomic {
		if
		:: state == OPEN && recovered -> turn(HALF_OPEN)
		:: else
		fi;
		if
		:: state == CLOSED ->
			admitted = true;
			held[i] = true
		:: state == HALF_OPEN && taken < PLACES ->
			admitted = true;
			held[i] = true;
			place[i] = true;
			taken++
		:: else -> admitted = false
		fi
	}
	:: atomic { held[i] -> report(i, true, false) }
	:: atomic { held[i] && !well -> report(i, false, true) }
	:: atomic { held[i] && !well -> report(i, false, false) } /* neither */
	:: atomic { held[i] && !well -> /* it never reports */
		if
		:: place[i] && since[i] == 0 -> orphans++
		:: else
		fi;
		forget(i)
	}
	od
}

/* The recovery time runs out. */
proctype Recovery() {
	do
	:: atomic { state == OPEN && !recovered -> recovered = true }
	od
}

/* A lease runs out: the place is free, though its probe may still report. */
proctype Lease(byte i) {
	do
	:: atomic {
		held[i] && place[i] && since[i] == 0 && taken > 0 ->
		taken--;
#ifndef PLACE_TWICE
		place[i] = false
#endif
	}
	od
}

proctype LeaseOfTheLost() {
	do
	:: atomic { orphans > 0 -> orphans--; taken-- }
	od
}

proctype Operator() {
	byte j;
	do
	:: atomic { byHand < BY_HAND && !well && state != OPEN -> byHand++; turn(OPEN) }
	:: atomic { byHand < BY_HAND && !well -> byHand++; turn(CLOSED) }
	:: atomic { !well -> well = true }
	od
}

/* Probes that really are under way in this generation and hold a place. */
#define PROBE(i) (held[i] && place[i] && since[i] == 0)
#define PROBES   (PROBE(0) + PROBE(1) + PROBE(2) + orphans)

/* There are never more than allowed, and the breaker counts them right. */
proctype Monitor() {
	atomic { PROBES > PLACES || PROBES != taken -> assert(false) }
}

init {
	byte i;
	atomic {
		for (i : 0 .. CALLERS - 1) {
			run Caller(i)
		}
#ifndef NO_TIMER
		run Recovery();
#endif
#ifndef NO_LEASE
		for (i : 0 .. CALLERS - 1) {
			run Lease(i)
		}
		run LeaseOfTheLost();
#endif
		run Operator();
		run Monitor()
	}
}

/* Every open circuit is probed again. */
ltl probed { [] (state == OPEN -> <> (state != OPEN)) }

/* It is not wedged: calls are let through again and again. */
ltl notWedged { [] <> admitted }

/* Once the service works, the circuit closes. */
ltl recovers { [] (well -> <> (state == CLOSED)) }
