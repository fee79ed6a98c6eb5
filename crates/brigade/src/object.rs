//! Handles to shared objects: counted, cloned, sent, and the last one frees the object.
//! What the object does is in queue.rs, joinable.rs, memory/ and sync/; how counts survive deaths is in session.rs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use brigade_sys::kernel::fork;
use brigade_sys::kernel::memory::{self, Mapping};
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;

pub(crate) use crate::channel::HandleNote;
use crate::channel::{Channel, Note, Sight, fact};
use crate::error::MemoryError;
use crate::joinable::Store;
use crate::keeper;
use crate::lifeline::Cadence;
use crate::session::{
    Ends, Holders, LastSeen, Participant, Session, WindowId, WindowKind, existing, refuse_forked, session,
};

/// The first word of every window: how many bytes of it are mapped.
const MAPPED_BYTES: usize = 0;
/// No object maps more than this; a larger number in shared memory is garbage.
const MAX_MAPPED_BYTES: u64 = 1 << 38;

/// An object as this process sees it. All handles of a process share one.
#[derive(Debug)]
pub(crate) struct Object {
    session: &'static Session,
    window: WindowId,
    kind: WindowKind,
    mapping: Mapping,
    sight: Sight,
    last_putter: LastSeen,
    last_getter: LastSeen,
    looked_for_getters: Cadence,
}

impl Object {
    pub(crate) const fn kind(&self) -> WindowKind {
        self.kind
    }

    pub(crate) const fn session(&self) -> &'static Session {
        self.session
    }

    pub(crate) const fn window(&self) -> WindowId {
        self.window
    }

    pub(crate) const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(crate) const fn channel(&self) -> Channel<'_> {
        Channel::new(self.session, &self.mapping, self.window, &self.sight)
    }

    /// What [`channel`](Self::channel) is for a joinable queue.
    pub(crate) const fn store(&self) -> Store<'_> {
        Store::new(self.session, &self.mapping, self.window)
    }

    /// Makes facts known; only queues of either kind have any.
    fn establish(&self, facts: u32) {
        match self.kind {
            WindowKind::Queue => self.channel().establish(facts),
            WindowKind::JoinableQueue => self.store().establish(facts),
            _ => {}
        }
    }

    fn is_fact(&self, fact: u32) -> bool {
        match self.kind {
            WindowKind::Queue => self.channel().is_fact(fact),
            WindowKind::JoinableQueue => self.store().is_fact(fact),
            _ => false,
        }
    }

    fn notes_inside(&self) -> Vec<Note> {
        match self.kind {
            WindowKind::Queue => self.channel().notes_inside(),
            WindowKind::JoinableQueue => self.store().notes_inside(),
            _ => Vec::new(),
        }
    }

    fn map(session: &'static Session, window: WindowId, kind: WindowKind, n_bytes: usize) -> Result<Self, MemoryError> {
        let mapping = Mapping::new(session.arena(), window.offset(), n_bytes)
            .map_err(|error| MemoryError::new("map a shared object", &error))?;
        let (sight, last_putter, last_getter, looked_for_getters) = Default::default();
        Ok(Self { session, window, kind, mapping, sight, last_putter, last_getter, looked_for_getters })
    }

    /// Maps an object that some process of the session has made.
    fn open(session: &'static Session, window: WindowId, kind: WindowKind) -> Result<Self, MemoryError> {
        if !session.holds(window, kind) {
            return Err(not_an_object());
        }
        let mut size = [0; 8];
        memory::read_at(session.arena(), window.offset() + MAPPED_BYTES as u64, &mut size)
            .map_err(|error| MemoryError::new("open a shared object", &error))?;
        let n_bytes = u64::from_le_bytes(size);
        if n_bytes == 0 || n_bytes > MAX_MAPPED_BYTES {
            return Err(not_an_object());
        }
        Self::map(session, window, kind, n_bytes as usize)
    }
}

fn not_an_object() -> MemoryError {
    MemoryError::new("open a shared object", &std::io::ErrorKind::InvalidData.into())
}

impl Drop for Object {
    fn drop(&mut self) {
        let mut objects = registry();
        // Not what another thread has opened anew meanwhile.
        if objects.get(&self.window).is_some_and(|object| object.strong_count() == 0) {
            objects.remove(&self.window);
        }
    }
}

/// The objects that some handle of this process uses.
fn registry() -> MutexGuard<'static, HashMap<WindowId, Weak<Object>>> {
    static OBJECTS: LazyLock<Mutex<HashMap<WindowId, Weak<Object>>>> = LazyLock::new(Mutex::default);
    // The map is whole at every instant, so a panic elsewhere under the lock is no reason to stop.
    OBJECTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One counted handle to an object.
#[derive(Debug)]
pub(crate) struct Handle {
    object: Arc<Object>,
    ends: Ends,
}

impl Handle {
    /// Makes an object of which `n_bytes` are mapped, zeroed but for what `initialize` writes.
    pub(crate) fn create(
        kind: WindowKind,
        n_bytes: usize,
        initialize: impl FnOnce(&Object),
    ) -> Result<Self, MemoryError> {
        Self::create_growing(kind, n_bytes, n_bytes, initialize)
    }

    /// The same, with only the first `n_allocated` bytes allocated. The others must be before they are touched.
    pub(crate) fn create_growing(
        kind: WindowKind,
        n_bytes: usize,
        n_allocated: usize,
        initialize: impl FnOnce(&Object),
    ) -> Result<Self, MemoryError> {
        let session = session()?;
        let window = session.create_window(kind)?;
        let made = memory::allocate(session.arena(), window.offset(), n_allocated as u64)
            .map_err(|error| MemoryError::new("allocate a shared object", &error))
            .and_then(|()| Object::map(session, window, kind, n_bytes));
        match made {
            Ok(object) => {
                object.mapping.word64(MAPPED_BYTES).store(n_bytes as u64, Ordering::Release);
                initialize(&object);
                let object = Arc::new(object);
                registry().insert(window, Arc::downgrade(&object));
                Ok(Self { object, ends: Ends::Both })
            }
            Err(error) => {
                session.remove_handle(window, Ends::Both, || ());
                free_garbage(session, window);
                Err(error)
            }
        }
    }

    /// Counts a handle that has come from elsewhere. Whoever sent it still holds one.
    pub(crate) fn arrive(note: HandleNote) -> Result<Self, MemoryError> {
        let session = session()?;
        let kind = WindowKind::from_number(note.kind).ok_or_else(not_an_object)?;
        let object = {
            let mut objects = registry();
            match objects.get(&note.window).and_then(Weak::upgrade) {
                Some(object) => object,
                None => {
                    let object = Arc::new(Object::open(session, note.window, kind)?);
                    objects.insert(note.window, Arc::downgrade(&object));
                    object
                }
            }
        };
        if object.kind != kind {
            return Err(not_an_object());
        }
        Self::count(object, note.ends)
    }

    fn count(object: Arc<Object>, ends: Ends) -> Result<Self, MemoryError> {
        if fork::is_forked() {
            // Every call on it is going to fail, and dropping it counts nothing.
            return Ok(Self { object, ends });
        }
        object.session.add_handle(object.window, ends)?;
        let putter = if ends.can_put() { fact::OTHER_PUTTER } else { 0 };
        let getter = if ends.can_get() { fact::OTHER_GETTER } else { 0 };
        object.establish(putter | getter);
        Ok(Self { object, ends })
    }

    /// Another handle with the same ends. Fails only if there is no memory for counting it.
    pub(crate) fn try_clone(&self) -> Result<Self, MemoryError> {
        Self::count(Arc::clone(&self.object), self.ends)
    }

    /// The same handle with fewer ends.
    pub(crate) fn narrow(self, ends: Ends) -> Result<Self, MemoryError> {
        refuse_forked()?;
        // Counted anew before the old one goes, so that there is one at every moment.
        self.object.session.add_handle(self.object.window, ends)?;
        Ok(Self { object: Arc::clone(&self.object), ends })
    }

    /// A handle for as long as an item is worked on. It counts as one that could put, since the item may come back, but not as
    /// another handle that once was.
    pub(crate) fn for_lease(&self) -> Result<Self, MemoryError> {
        refuse_forked()?;
        self.object.session.add_handle(self.object.window, Ends::Put)?;
        Ok(Self { object: Arc::clone(&self.object), ends: Ends::Put })
    }

    pub(crate) fn note(&self) -> HandleNote {
        HandleNote { window: self.object.window, kind: self.object.kind as u8, ends: self.ends }
    }

    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    /// The process that was to receive this handle died before it had it.
    pub(crate) fn tell_lost_on_the_way(&self) {
        if self.object.kind == WindowKind::Barrier {
            self.object.session.tell_death(self.object.window);
        }
    }

    /// Whether a get that finds nothing would wait for ever: no handle but this one could put, and once there was another.
    pub(crate) fn is_without_putters(&self) -> bool {
        self.is_without_putters_but(0)
    }

    /// The same, where `n_leases` belong to this handle ([`for_lease`](Self::for_lease)).
    pub(crate) fn is_without_putters_but(&self, n_leases: u64) -> bool {
        self.object.is_fact(fact::OTHER_PUTTER)
            && self.is_alone(Holders::Putters, u64::from(self.ends.can_put()) + n_leases)
    }

    /// The same for a put that finds no room.
    pub(crate) fn is_without_getters(&self) -> bool {
        self.object.is_fact(fact::OTHER_GETTER) && self.is_alone(Holders::Getters, u64::from(self.ends.can_get()))
    }

    /// Whether this is the only handle, whatever it can do, of all that living processes and waiting messages have.
    pub(crate) fn is_only_one(&self) -> bool {
        self.is_alone(Holders::Any, u64::from(self.ends.can_put()) + u64::from(self.ends.can_get()))
    }

    /// Whether no handle is left that could get, and none can come: senders into a pipe ask it each time. Who drops the last one
    /// says so; whether the last one died is looked at ten times a second.
    pub(crate) fn has_lost_getters(&self) -> bool {
        let channel = self.object.channel();
        if self.object.looked_for_getters.is_due() && self.is_alone(Holders::Getters, 0) {
            channel.establish(fact::NO_GETTER);
        }
        channel.is_fact(fact::NO_GETTER)
    }

    fn notice_lost_getters(&self) {
        let Object { session, window, .. } = *self.object;
        let may_be_last = self.ends.can_get() && !session.has_own_handles(window, Holders::Getters);
        if may_be_last && self.is_alone(Holders::Getters, 0) {
            self.object.channel().establish(fact::NO_GETTER);
        }
    }

    /// Whether neither a living process nor a message that waits in a queue has more than `n_own` handles of the kind.
    fn is_alone(&self, holders: Holders, n_own: u64) -> bool {
        let Object { session, window, .. } = *self.object;
        let last_seen = match holders {
            Holders::Getters => &self.object.last_getter,
            Holders::Any | Holders::Putters => &self.object.last_putter,
        };
        loop {
            let epoch = session.epoch(window);
            if session.has_more_handles_than(n_own, window, holders, last_seen) {
                return false;
            }
            let is_carried =
                notes_in_queues(session).iter().any(|(_, note)| note.window == window && holders.include(note.ends));
            // A handle that moved from a message into a process meanwhile has made the epoch grow.
            if session.epoch(window) == epoch {
                return !is_carried;
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if fork::is_forked() {
            // What was counted was counted for the parent.
            return;
        }
        let Object { session, window, kind, .. } = *self.object;
        session.remove_handle(window, self.ends, || {
            // Somebody may wait for what only this handle could have brought.
            match kind {
                WindowKind::Queue => {
                    self.notice_lost_getters();
                    self.object.channel().wake_all();
                }
                WindowKind::JoinableQueue => self.object.store().wake_all(),
                _ => {}
            }
        });
        if !session.has_own_handles(window, Holders::Any) && !has_handles(session, window) {
            free_garbage(session, window);
        }
    }
}

/// Whether any living process has a handle to a window, as of one moment.
fn has_handles(session: &Session, window: WindowId) -> bool {
    loop {
        let epoch = session.epoch(window);
        if session.has_more_handles_than(0, window, Holders::Any, &LastSeen::default()) {
            return true;
        }
        if session.epoch(window) == epoch {
            return false;
        }
    }
}

/// Forgets a process that is known to be dead, and frees what only it still held. Returns those that it had started and that
/// still live.
pub(crate) fn reap(dead: Participant) -> Vec<Participant> {
    session().map_or_else(
        |_| Vec::new(),
        |session| {
            let orphans = session.reap(dead);
            session.free_windows(|| {
                give_back_leases(session);
                unreachable_windows(session)
            });
            keeper::sweep();
            orphans
        },
    )
}

/// Puts items back into their queues that the dead were working on. No window is freed meanwhile.
fn give_back_leases(session: &'static Session) {
    for window in session.windows() {
        if let Ok(object) = Object::open(session, window, WindowKind::JoinableQueue) {
            object.store().settle();
        }
    }
}

/// Whether a process of the session is dead.
pub(crate) fn is_dead(participant: Participant) -> bool {
    session().map_or(true, |session| session.is_dead(participant.owner()))
}

/// Frees a window to which no process has a handle, unless a message carries one; with it what only its messages carried.
fn free_garbage(session: &'static Session, window: WindowId) {
    session.free_windows(|| {
        if session.carrying_windows().next().is_some() {
            return unreachable_windows(session);
        }
        let is_in_use = session.windows().any(|used| used == window);
        if is_in_use && !has_handles(session, window) { vec![window] } else { Vec::new() }
    });
    keeper::sweep();
}

/// The windows that no process can reach: neither by a handle nor by a handle in a message it could receive.
fn unreachable_windows(session: &'static Session) -> Vec<WindowId> {
    loop {
        let all: Vec<(WindowId, u32)> = session.windows().map(|window| (window, session.epoch(window))).collect();
        let mut reached: HashSet<WindowId> =
            all.iter().map(|&(window, _)| window).filter(|&window| has_handles(session, window)).collect();
        let carried = notes_in_queues(session);
        while carried.iter().any(|(inside, note)| reached.contains(inside) && reached.insert(note.window)) {}
        // No handle moved meanwhile from where we looked later to where we had looked before.
        if all.iter().all(|&(window, epoch)| session.epoch(window) == epoch) {
            return all.into_iter().map(|(window, _)| window).filter(|window| !reached.contains(window)).collect();
        }
    }
}

/// The descriptors that messages in queues carry, by the numbers under which they are kept.
pub(crate) fn tickets_in_queues() -> HashSet<u64> {
    let Some(session) = existing() else { return HashSet::new() };
    let notes = carried(session).into_iter();
    let tickets = notes.filter_map(|(_, note)| if let Note::Descriptors(ticket) = note { Some(ticket) } else { None });
    tickets.collect()
}

/// Every handle in a message that waits in a queue, with the queue it is in.
fn notes_in_queues(session: &'static Session) -> Vec<(WindowId, HandleNote)> {
    let notes = carried(session).into_iter();
    notes.filter_map(|(inside, note)| if let Note::Handle(note) = note { Some((inside, note)) } else { None }).collect()
}

/// What messages that wait in queues carry beside their bytes, with the queue each is in.
fn carried(session: &'static Session) -> Vec<(WindowId, Note)> {
    let mut found = Vec::new();
    for window in session.carrying_windows() {
        // A queue that is being made or freed at this moment has no messages that count.
        let mut kinds = [WindowKind::Queue, WindowKind::JoinableQueue].into_iter();
        if let Some(object) = kinds.find_map(|kind| Object::open(session, window, kind).ok()) {
            found.extend(object.notes_inside().into_iter().map(|note| (window, note)));
        }
    }
    found
}
