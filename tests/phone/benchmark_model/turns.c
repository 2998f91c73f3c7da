// Turns on this machine's CPUs, which several stand-in phones share: whoever measures has a CPU to
// itself for a while, as on a phone of its own. A turn is a lock on one file a CPU.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "benchmark.h"

#define TURN_US 50000
#define PAUSE_US 200  // in which a process that waits for the turn gets it

static cpu_set_t allowed;  // what `taskset` left
static int locks[CPU_SETSIZE], last_cpu;
static bool is_ready, is_held;
static int64_t since_us;

static void prepare(void) {
    is_ready = true;
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        char path[64];
        snprintf(path, sizeof path, "/vendor/turns/cpu%d", cpu);
        locks[cpu] = CPU_ISSET(cpu, &allowed) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    }
    last_cpu = sched_getcpu();
}

static bool lock(int cpu, int how) { return locks[cpu] >= 0 && flock(locks[cpu], how) == 0; }

static void take_one(void) {
    cpu_set_t one;
    int cpu = last_cpu;
    if (!lock(cpu, LOCK_EX | LOCK_NB)) {
        cpu = 0;
        while (cpu < CPU_SETSIZE && !lock(cpu, LOCK_EX | LOCK_NB)) cpu++;
        if (cpu == CPU_SETSIZE) {
            cpu = last_cpu;
            lock(cpu, LOCK_EX);
        }
    }
    last_cpu = cpu;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

void turn_give_up(void) {
    for (int cpu = 0; is_held && cpu < CPU_SETSIZE; cpu++) lock(cpu, LOCK_UN);
    if (is_held) sched_setaffinity(0, sizeof allowed, &allowed);
    is_held = false;
}

bool turn_take(int threads) {
    if (!is_ready) prepare();
    if (is_held && now_us() - since_us < TURN_US) return false;
    if (is_held) {
        turn_give_up();
        usleep(PAUSE_US);
    }
    // in ascending order, so that two who take all do not wait for each other
    for (int cpu = 0; threads > 1 && cpu < CPU_SETSIZE; cpu++) lock(cpu, LOCK_EX);
    if (threads <= 1) take_one();
    is_held = true;
    since_us = now_us();
    return true;
}
