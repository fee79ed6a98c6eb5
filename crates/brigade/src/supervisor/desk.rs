//! What the supervisor's thread does: waits for what children say and for their end, and does what other threads ask of it.
//! How a child is started is in birth.rs; what is known of one is in record.rs.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use brigade_sys::kernel::ending::{self, Ending};
use brigade_sys::kernel::memory::move_up;
use brigade_sys::kernel::passing::Blocking;
use rustix::event::{Timespec, epoll};
use rustix::process::Signal;

use super::record::Child;
use super::{Caller, OnExit, OnParentExit, SUPERVISOR, Supervisor, lock};
use crate::child::say;
use crate::keeper;
use crate::last_words::CrashReport;
use crate::object::{self, Handle};
use crate::parcel::{self, Arrival, Parcel, Received, Receiver};
use crate::select;
use crate::session::Participant;
use crate::status::{End, ExitStatus};

/// What only the supervisor's thread uses.
pub(super) struct Desk {
    epoll: OwnedFd,
    /// What a child has of this thread, if nothing else is asked for.
    pub(super) own: Caller,
    next_number: u64,
    talks: HashMap<u64, Talk>,
    oom_kills: crate::oom::Counter,
    orphans: Orphans,
}

/// The conversation with one child.
pub(super) struct Talk {
    pub(super) child: Arc<Child>,
    pub(super) socket: OwnedFd,
    pub(super) receiver: Receiver,
    pub(super) on_exit: Option<OnExit>,
}

const BELL: u64 = u64::MAX;
/// The lowest bit of an event's number says which of a child's descriptors it is about.
const IS_END: u64 = 1;

impl Desk {
    pub(super) fn new(bell: &OwnedFd) -> io::Result<Self> {
        let epoll = move_up(epoll::create(epoll::CreateFlags::CLOEXEC)?)?;
        epoll::add(&epoll, bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            own: Caller::capture(),
            next_number: 0,
            talks: HashMap::new(),
            oom_kills: crate::oom::Counter::new(),
            orphans: Orphans::default(),
        })
    }

    pub(super) fn run(mut self) {
        let supervisor = SUPERVISOR.wait();
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            let timeout = self.orphans.timeout();
            let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref());
            if waited.is_err() {
                continue;
            }
            self.orphans.reap();
            // What was said is heard before an end is dealt with, whatever the order in which the kernel lists them.
            let numbers: Vec<u64> = events.iter().map(|event: &epoll::Event| event.data.u64()).collect();
            if numbers.contains(&BELL) {
                let _ = rustix::io::read(&supervisor.bell, &mut [0_u8; 8]);
            }
            for &number in numbers.iter().filter(|&&number| number != BELL && number & IS_END == 0) {
                self.hear(number >> 1);
            }
            for &number in numbers.iter().filter(|&&number| number != BELL && number & IS_END != 0) {
                self.bury(supervisor, number >> 1);
            }
            loop {
                let jobs = std::mem::take(&mut *lock(&supervisor.jobs));
                if jobs.is_empty() {
                    break;
                }
                jobs.into_iter().for_each(|job| job(&mut self));
            }
        }
    }

    pub(super) fn watch(&mut self, talk: Talk) -> io::Result<()> {
        let number = self.next_number;
        self.next_number += 1;
        let add = |descriptor: &OwnedFd, data| {
            epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(data), epoll::EventFlags::IN)
        };
        add(&talk.socket, number << 1).and_then(|()| add(&talk.child.pidfd, number << 1 | IS_END))?;
        if let Some(supervisor) = SUPERVISOR.get() {
            lock(&supervisor.children).insert(number, Arc::clone(&talk.child));
        }
        self.talks.insert(number, talk);
        Ok(())
    }

    pub(super) fn hear_all(&mut self) {
        let numbers: Vec<u64> = self.talks.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.hear(number));
    }

    /// Takes in all that a child has said so far.
    fn hear(&mut self, number: u64) {
        let Some(talk) = self.talks.get_mut(&number) else {
            return;
        };
        loop {
            match talk.receiver.receive(&talk.socket, Blocking::Never) {
                Ok(Received::Parcel { tag, arrival }) => talk.take_in(tag, arrival),
                Ok(Received::NotYet) => return,
                Ok(Received::Gone) => {
                    // Its end follows; until then the closed socket must not wake us again.
                    let _ = epoll::delete(&self.epoll, &talk.socket);
                    return;
                }
                Err(error) => {
                    talk.child.state().start_failure.get_or_insert(format!("cannot hear the process: {error}"));
                    let _ = epoll::delete(&self.epoll, &talk.socket);
                    // It may wait for an answer, which it is not going to get.
                    let _ = rustix::net::shutdown(&talk.socket, rustix::net::Shutdown::Both);
                    return;
                }
            }
        }
    }

    /// Deals with a child that has ended.
    fn bury(&mut self, supervisor: &Supervisor, number: u64) {
        self.hear(number);
        let Some(Talk { child, socket, on_exit, .. }) = self.talks.remove(&number) else {
            return;
        };
        // Before anybody hears of the end, so that who counts descriptors then counts none of it.
        drop(socket);
        let _ = epoll::delete(&self.epoll, &child.pidfd);
        let status = child.status_at_end();
        let out_of_memory = status.signal() == Some(Signal::KILL.as_raw()) && self.oom_kills.has_grown();
        if let Some(participant) = child.participant {
            self.orphans.take_over(object::reap(participant));
        }
        lock(&supervisor.children).remove(&number);
        let arguments = {
            let mut state = child.state();
            state.status = Some(status);
            state.out_of_memory = out_of_memory;
            state.arguments.take()
        };
        if let Some(arguments) = arguments {
            arguments.handles.iter().for_each(Handle::tell_lost_on_the_way);
        }
        child.changed.notify_all();
        select::process_has_ended();
        if let Some(on_exit) = on_exit {
            on_exit(&child);
        }
    }
}

impl Talk {
    fn take_in(&self, tag: u64, arrival: Arrival) {
        if tag == say::KEEPER {
            arrival.descriptors.into_iter().for_each(keeper::receive_line);
            return;
        }
        let mut dropped_outside_of_the_lock = None;
        let mut state = self.child.state();
        match tag {
            say::ENTERED => {
                state.has_entered = true;
                dropped_outside_of_the_lock = state.arguments.take();
                if self.child.on_parent_exit == OnParentExit::Detach {
                    // Nobody else waits for this.
                    self.child.changed.notify_all();
                }
            }
            say::RESULT => {
                if !arrival.handles.is_empty() {
                    // They are counted here now, so the child may let go of its own.
                    let _ = parcel::send(&self.socket, 0, &Parcel::default(), Blocking::Never);
                }
                state.result = Some(arrival);
                state.last_code = Some(0);
            }
            say::CALL_ERROR => {
                state.call_error = arrival.unpack().ok();
                state.last_code = Some(0);
            }
            say::PANIC => state.panic = arrival.unpack().ok(),
            say::CRASH => state.crash = CrashReport::read(&arrival.bytes),
            say::START_FAILED => state.start_failure = arrival.unpack().ok(),
            say::LEAVING => state.last_code = arrival.unpack().ok(),
            // A child of the same build says nothing else.
            _ => {}
        }
        drop(state);
        drop(dropped_outside_of_the_lock);
    }
}

impl Child {
    /// Collects the status, so that no zombie is left.
    fn status_at_end(&self) -> ExitStatus {
        let pidfd = self.pidfd.as_fd();
        ExitStatus(match ending::collect(pidfd).or_else(|| ending::remembered(pidfd)) {
            Some(Ending::Exited(code)) => End::Exited(code),
            Some(Ending::Signaled { signal, core_dumped }) => End::Signaled { signal, core_dumped },
            // The host took the status, and the kernel does not tell it twice. The child may have said it itself.
            None => {
                let state = self.state();
                let crash = state.crash.as_ref().map(CrashReport::end);
                crash.or_else(|| state.last_code.map(End::Exited)).unwrap_or(End::Lost)
            }
        })
    }
}

/// Processes of the session whose parent was ours and is dead: most of them die with it, a moment later, and nobody else looks
/// after what they leave.
#[derive(Default)]
struct Orphans {
    waiting: Vec<Participant>,
    next_look: Option<Instant>,
    pause: Duration,
}

impl Orphans {
    const FIRST_PAUSE: Duration = Duration::from_millis(1);
    /// Who still lives after this long was detached, and ends when it likes. Whoever needs its place then clears it.
    const LAST_PAUSE: Duration = Duration::from_millis(500);

    fn take_over(&mut self, orphans: Vec<Participant>) {
        if !orphans.is_empty() {
            self.waiting.extend(orphans);
            self.pause = Self::FIRST_PAUSE;
            self.next_look = Some(Instant::now() + self.pause);
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        let left = self.next_look?.saturating_duration_since(Instant::now());
        Some(Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) })
    }

    /// Clears those that have died.
    fn reap(&mut self) {
        if self.next_look.is_none_or(|next_look| Instant::now() < next_look) {
            return;
        }
        let mut found = Vec::new();
        self.waiting.retain(|&orphan| {
            let is_dead = object::is_dead(orphan);
            if is_dead {
                found.extend(object::reap(orphan));
            }
            !is_dead
        });
        self.pause *= 2;
        self.next_look = Some(Instant::now() + self.pause);
        if self.pause > Self::LAST_PAUSE || self.waiting.is_empty() {
            self.waiting.clear();
            self.next_look = None;
        }
        self.take_over(found);
    }
}
