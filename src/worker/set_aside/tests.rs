//! What is left aside, and how long. No table is asked: `tests/refused_claims.rs` has a server.

use super::*;

fn refusal(sqlstate: &str) -> Error {
    Error::Raised { sqlstate: sqlstate.to_owned(), message: "the rule of the house".to_owned() }
}

/// What a trigger raises, as far as nobody gave it another code.
fn of_a_trigger() -> Error {
    refusal("P0001")
}

#[test]
fn what_is_refused_once_is_left_aside_and_told_when_it_is_refused_again() {
    let (mut aside, due) = (SetAside::default(), Due::Answer(7));
    assert_eq!(aside.refuse(due, 1, &of_a_trigger()), None);
    assert_eq!(aside.ids(Queue::Replies), [7]);
    assert!(aside.ids(Queue::Deliveries).is_empty());
    assert!(aside.next_due().is_some());
    let (known, rest) = aside.split(vec![Due::Answer(8), due, Due::Send(7)]);
    assert_eq!((known, rest), (vec![due], vec![Due::Answer(8), Due::Send(7)]));
    assert_eq!(aside.findings(), [], "a deadlock is no finding");
    let line = aside.refuse(due, 1, &of_a_trigger()).unwrap();
    assert!(line.starts_with("whaply: tenant 1: reply 7: ") && line.contains("P0001"), "{line}");
    assert!(!line.contains("the rule"), "{line}");
    assert_eq!(aside.refuse(due, 1, &of_a_trigger()), None, "it is said once");
    let [finding] = &aside.findings()[..] else { panic!("{:?}", aside.findings()) };
    assert_eq!((finding.tenant_id, finding.object.as_str()), (1, "reply 7"));
    assert_eq!(finding.problem, "the rule of the house");
}

#[test]
fn what_never_goes_well_is_told_at_once() {
    let mut aside = SetAside::default();
    aside.refuse(Due::Send(7), 1, &refusal("23514"));
    assert_eq!(aside.findings()[0].object, "delivery 7");
}

#[test]
fn the_pauses_grow() {
    let (mut aside, due) = (SetAside::default(), Due::Send(7));
    (0..6).for_each(|_| drop(aside.refuse(due, 1, &of_a_trigger())));
    let left = aside.refused[&due].until - Instant::now();
    assert!(left > 16 * FIRST_PAUSE && left <= Duration::from_secs(300), "{left:?}");
}

#[test]
fn what_begins_or_waits_no_more_is_forgotten_and_the_table_is_to_say_so() {
    let mut aside = SetAside::default();
    assert!(aside.take_look(), "a worker of before may have told something");
    aside.are_told();
    for due in [Due::Answer(1), Due::Answer(2), Due::LookUp(3)] {
        aside.refuse(due, 1, &refusal("23514"));
    }
    assert!(aside.take_look());
    aside.are_told();
    assert!(!aside.take_look(), "nothing has changed");
    assert!(aside.forget(Due::Answer(1)).is_some_and(|line| line.contains("reply 1: ")));
    assert_eq!(aside.forget(Due::Answer(1)), None);
    assert!(aside.take_look());
    assert_eq!(aside.keep_only(&BTreeSet::from([Due::LookUp(3)])).len(), 1);
    assert_eq!(aside.all(), [Due::LookUp(3)]);
}

#[test]
fn a_tenant_with_much_of_it_is_passed_over_and_no_other() {
    let mut aside = SetAside::default();
    for id in 0..16 {
        assert!(aside.tenants(Queue::Replies).is_empty());
        aside.refuse(Due::Answer(id), 5, &of_a_trigger());
        aside.refuse(
            Due::Answer(100 + id),
            i32::try_from(id).unwrap_or_default() + 10,
            &of_a_trigger(),
        );
    }
    assert_eq!(aside.tenants(Queue::Replies), [5]);
    assert!(aside.tenants(Queue::Deliveries).is_empty());
}

#[test]
fn it_never_grows_without_end() {
    let mut aside = SetAside::default();
    for id in 0..3_000 {
        aside.refuse(Due::Answer(id), 1, &of_a_trigger());
    }
    assert_eq!(aside.all().len(), MOST);
}
