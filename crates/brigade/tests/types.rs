//! What every type promises to the compiler: handles go to any thread, errors go anywhere, also to another process.

use std::error::Error;

use brigade::{
    Blob, BlobBuilder, CallError, Consumer, DecodeError, Descriptor, Duplex, EncodeError, GetError, GetTimeoutError,
    JoinError, JoinTimeoutError, JoinableConsumer, JoinableProducer, JoinableQueue, Lease, ManagedBarrier,
    ManagedCondition, ManagedDict, ManagedEvent, ManagedList, ManagedLock, ManagedQueue, ManagedReentrantLock,
    ManagedRwLock, ManagedSemaphore, ManagedSet, ManagedValue, Manager, ManagerDied, ManagerError, MemoryError,
    PanicReport, Pool, PoolBroken, PoolError, Process, ProcessError, Producer, PutError, PutTimeoutError, Queue,
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, Service, Shared, SharedMutex,
    SharedMutexError, SharedSlice, SpawnError, SubmitError, Task, TaskError, TryGetError, TryPutError, TryRecvError,
    TrySendError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn is_send_and_sync<T: Send + Sync + 'static>() {}
fn is_value<T: Serialize + DeserializeOwned>() {}
fn is_error<T: Serialize + DeserializeOwned + Error + Send + Sync + 'static>() {}

/// Neither `Serialize` nor `Send`: a handle asks nothing of its values.
struct Anything(#[expect(dead_code, reason = "only the type matters")] *const ());

#[test]
fn handles_go_to_any_thread_and_to_any_process_whatever_their_values_are() {
    is_send_and_sync::<Queue<Anything>>();
    is_send_and_sync::<Producer<Anything>>();
    is_send_and_sync::<Consumer<Anything>>();
    is_send_and_sync::<ManagedQueue<Anything>>();
    is_send_and_sync::<Service<Anything>>();
    is_send_and_sync::<ManagedDict<Anything, Anything>>();
    is_send_and_sync::<ManagedList<Anything>>();
    is_send_and_sync::<ManagedSet<Anything>>();
    is_send_and_sync::<ManagedValue<Anything>>();
    is_send_and_sync::<ManagedLock>();
    is_send_and_sync::<ManagedReentrantLock>();
    is_send_and_sync::<ManagedRwLock>();
    is_send_and_sync::<ManagedSemaphore>();
    is_send_and_sync::<ManagedEvent>();
    is_send_and_sync::<ManagedCondition>();
    is_send_and_sync::<ManagedBarrier>();
    is_send_and_sync::<SharedSlice<u64>>();
    is_send_and_sync::<Shared<u64>>();
    is_send_and_sync::<SharedMutex<u64>>();
    is_send_and_sync::<Blob>();
    is_send_and_sync::<BlobBuilder>();
    is_send_and_sync::<JoinableQueue<Anything>>();
    is_send_and_sync::<JoinableProducer<Anything>>();
    is_send_and_sync::<JoinableConsumer<Anything>>();
    is_send_and_sync::<Lease<u64>>();
    is_send_and_sync::<Process<Anything>>();
    is_send_and_sync::<Task<Anything>>();
    is_send_and_sync::<Pool>();
    is_send_and_sync::<Manager>();
    is_value::<Queue<Anything>>();
    is_value::<Producer<Anything>>();
    is_value::<Consumer<Anything>>();
    is_value::<ManagedQueue<Anything>>();
    is_value::<Service<Anything>>();
    is_value::<ManagedDict<Anything, Anything>>();
    is_value::<ManagedList<Anything>>();
    is_value::<ManagedSet<Anything>>();
    is_value::<ManagedValue<Anything>>();
    is_value::<ManagedLock>();
    is_value::<ManagedReentrantLock>();
    is_value::<ManagedRwLock>();
    is_value::<ManagedSemaphore>();
    is_value::<ManagedEvent>();
    is_value::<ManagedCondition>();
    is_value::<ManagedBarrier>();
    is_value::<SharedSlice<u64>>();
    is_value::<Shared<u64>>();
    is_value::<SharedMutex<u64>>();
    is_value::<Blob>();
    is_value::<JoinableQueue<Anything>>();
    is_value::<JoinableProducer<Anything>>();
    is_value::<JoinableConsumer<Anything>>();
    is_value::<Descriptor>();
}

#[test]
fn ends_of_pipes_go_to_any_thread_and_to_any_process_whatever_their_values_are() {
    is_send_and_sync::<Sender<Anything>>();
    is_send_and_sync::<Receiver<Anything>>();
    is_send_and_sync::<Duplex<Anything, Anything>>();
    is_value::<Sender<Anything>>();
    is_value::<Receiver<Anything>>();
    is_value::<Duplex<Anything, Anything>>();
}

#[test]
fn errors_are_values_too() {
    is_error::<SendError<u8>>();
    is_error::<TrySendError<u8>>();
    is_error::<SendTimeoutError<u8>>();
    is_error::<RecvError>();
    is_error::<TryRecvError>();
    is_error::<RecvTimeoutError>();
    is_error::<PutError<u8>>();
    is_error::<TryPutError<u8>>();
    is_error::<PutTimeoutError<u8>>();
    is_error::<GetError>();
    is_error::<TryGetError>();
    is_error::<GetTimeoutError>();
    is_error::<ProcessError>();
    is_error::<SpawnError>();
    is_error::<PoolError>();
    is_error::<PoolBroken>();
    is_error::<SubmitError>();
    is_error::<TaskError>();
    is_error::<ManagerError>();
    is_error::<CallError>();
    is_error::<ManagerDied>();
    is_error::<MemoryError>();
    is_error::<SharedMutexError>();
    is_error::<JoinError>();
    is_error::<JoinTimeoutError>();
    is_error::<EncodeError>();
    is_error::<DecodeError>();
    is_error::<PanicReport>();
}
