//! A flag that is waited for.

use super::*;

#[test]
fn it_is_waited_for_set_and_cleared() {
    let event = Event::new().unwrap();
    assert!(!event.wait_timeout(Duration::ZERO));
    assert!(!timed_out(|timeout| event.wait_timeout(timeout)));
    assert_eq!(format!("{event:?}"), "Event { is_set: false }");
    let process: Process<()> = brigade::spawn(event.clone(), |event| event.set()).unwrap();
    event.wait();
    assert_eq!(format!("{event:?}"), "Event { is_set: true }");
    assert!(event.wait_timeout(Duration::ZERO));
    process.join().unwrap();
    event.clear();
    assert!(!event.is_set());
    assert!(!event.wait_timeout(Duration::ZERO));
}

#[test]
fn a_wait_ends_even_if_the_event_is_cleared_at_once() {
    let event = Event::new().unwrap();
    let set_and_clear = |()| {
        event.set();
        event.clear();
    };
    assert_wakes(|| event.clear(), || assert!(event.wait_timeout(PATIENCE)), set_and_clear);
}

#[test]
fn a_killed_waiter_disturbs_nobody() {
    for _ in 0..N_KILLS {
        let (event, waits) = (Event::new().unwrap(), Event::new().unwrap());
        let waiter = |(event, waits): (Event, Event)| {
            waits.set();
            event.wait();
        };
        let victim: Process<()> = brigade::spawn((event.clone(), waits.clone()), waiter).unwrap();
        assert!(waits.wait_timeout(PATIENCE));
        waits.clear();
        let other: Process<()> = brigade::spawn((event.clone(), waits.clone()), waiter).unwrap();
        assert!(waits.wait_timeout(PATIENCE));
        answered_after_kill(&victim, || {
            event.set();
            other.join().unwrap();
        });
    }
}
