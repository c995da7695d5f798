/*
 * The circuit breaker as a design: states, places for probes, leases,
 * generations, answers that begin, and a queue of those who wait. README.md says
 * how to check it and what came out.
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
bool accepted[CALLERS];/* its answer has begun, so it has passed as a probe */
byte orphans;          /* places whose caller is gone for good */

/* Those who wait, in their order. Only the first looks after the circuit, when
 * it has been called; the others sleep. */
bool waiting[CALLERS];
bool called[CALLERS];
byte queue[CALLERS];
byte queued;

bool admitted;    /* the last call that asked was let through */
bool well;        /* the service works, from now on */
byte byHand;

#ifdef NO_GENERATIONS
#define LATE(i) false
#else
#define LATE(i) (since[i] != 0)
#endif

inline callFirst() {
	if
	:: queued > 0 -> called[queue[0]] = true
	:: else
	fi
}

inline queueUp(i) {
	queue[queued] = i;
	queued++;
	waiting[i] = true;
	called[i] = true /* it looks before it sleeps */
}

inline leaveQueue(i) {
	waiting[i] = false;
	called[i] = false;
	queued--;
	if
	:: queue[0] == i ->
		queue[0] = queue[1];
		queue[1] = queue[2];
		queue[queued] = 0;
#ifndef NO_CALL_ON_LEAVING
		callFirst()
#endif
	:: else ->
		if
		:: queue[1] == i -> queue[1] = queue[2]
		:: else
		fi;
		queue[queued] = 0
	fi
}

/* A probe has succeeded. */
inline pass(i) {
	place[i] = false;
	passed++;
	if
	:: passed == NEEDED -> turn(CLOSED)
	:: else
	fi
}

inline freePlace(i) {
	if
	:: place[i] ->
		taken--;
#ifndef NO_CALL_ON_FREEING
		callFirst()
#endif
	:: else
	fi
}

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
	j = 0;
	callFirst()
}

inline forget(i) {
	held[i] = false;
	since[i] = 0;
	place[i] = false;
	accepted[i] = false
}

/* What is reported may change the breaker only in the generation in which the
 * call was admitted. */
inline report(i, success, failure) {
	if
	:: LATE(i)
	:: else ->
		assert(since[i] == 0); /* else it is the state of others that it changes */
		freePlace(i);
		if
		:: state == CLOSED && failure ->
			failures++;
			if
			:: failures == THRESHOLD -> turn(OPEN)
			:: else
			fi
		:: state == HALF_OPEN && failure -> turn(OPEN)
#ifndef ACCEPTED_TWICE
		:: state == HALF_OPEN && success && !accepted[i] ->
#else
		:: state == HALF_OPEN && success ->
#endif
			assert(!accepted[i]); /* one probe is one success */
			pass(i)
		:: else
		fi
	fi;
	forget(i)
}

/* An answer has begun to come: a probe has passed, and what follows counts in
 * the generation of now. */
inline accept(i) {
	freePlace(i);
	pass(i);
	since[i] = 0;
	accepted[i] = true
}

/* It is let through if there is room. */
inline enter(i) {
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
	:: else
	fi
}

#ifdef NO_ACCEPT
#define ANSWERED(i) true /* what began to come teaches nothing, however it ends */
#else
#define ANSWERED(i) accepted[i]
#endif

proctype Caller(byte i) {
	byte j;
	do
	:: atomic { !held[i] && !waiting[i] ->
		enter(i);
		if
		:: held[i]
		:: !held[i] -> admitted = false
		:: !held[i] -> admitted = false; queueUp(i)
		fi
	}
	:: atomic { waiting[i] && called[i] ->
		called[i] = false;
		if
		:: queue[0] == i ->
			enter(i);
			if
			:: held[i] -> leaveQueue(i)
			:: else
			fi
		:: else
		fi
	}
	:: atomic { waiting[i] && !well -> leaveQueue(i) } /* its context has ended */
#ifndef NO_ACCEPT
	:: atomic { held[i] && !accepted[i] && since[i] == 0 && state == HALF_OPEN -> accept(i) }
#endif
	:: atomic { held[i] -> report(i, true, false) }
	:: atomic { held[i] && !well -> report(i, false, true) }
	:: atomic { held[i] && (!well || ANSWERED(i)) -> report(i, false, false) } /* neither */
	:: atomic { held[i] && !well -> /* it never reports */
		if
		:: place[i] && since[i] == 0 -> orphans++
		:: else
		fi;
		forget(i)
	}
	od
}

/* The recovery time runs out, and with it the timer of the first who waits. */
proctype Recovery() {
	do
	:: atomic { state == OPEN && !recovered ->
		recovered = true;
#ifndef NO_TIMER_OF_WAITERS
		callFirst()
#endif
	}
	od
}

/* A lease runs out: the place is free, though its probe may still report. The
 * first who waits has set its timer to it. */
proctype Lease(byte i) {
	do
	:: atomic {
		held[i] && place[i] && since[i] == 0 && taken > 0 ->
		taken--;
#ifndef PLACE_TWICE
		place[i] = false;
#endif
		callFirst()
	}
	od
}

proctype LeaseOfTheLost() {
	do
	:: atomic { orphans > 0 -> orphans--; taken--; callFirst() }
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

/* The first who waits sleeps though there is room. */
#define ROOM      (state == CLOSED || state == OPEN && recovered || state == HALF_OPEN && taken < PLACES)
#define OVERSLEPT (queued > 0 && !called[queue[0]] && ROOM)

/* There are never more than allowed, the breaker counts them right, and nobody
 * oversleeps. */
proctype Monitor() {
	atomic { PROBES > PLACES || PROBES != taken || OVERSLEPT -> assert(false) }
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

/* Once the service works, whoever waits is let through. */
ltl served { [] ((well && waiting[0]) -> <> !waiting[0]) }
