//! How often sources are read, counted by a reader of the tests' own. How they are read is `secrets`'
//! business.

use std::cell::{Cell, RefCell};

use super::*;
use crate::exchange::Secret;

/// A source whose value changes, and who has read it how often.
#[derive(Default)]
struct Source {
    value: RefCell<String>,
    reads: Cell<u32>,
}

impl Source {
    fn holds(&self, value: &str) {
        value.clone_into(&mut self.value.borrow_mut());
    }

    fn read(&self, row: Kept) -> secrets::Read {
        let (accepted, troubles) = row.resolve(|_, named| {
            let is_named = named.expose().starts_with("file:");
            self.reads.set(self.reads.get() + u32::from(is_named));
            Ok(if is_named { Secret::new(self.value.borrow().as_str()) } else { named.clone() })
        });
        secrets::Read { accepted, troubles, names_a_source: self.reads.get() > 0 }
    }
}

fn row(secret: &str) -> Credentials {
    let accepted = Accepted { secret: Some(Secret::new(secret)), ..Accepted::default() };
    Credentials::from([("loja".to_owned(), (7, Kept::new(accepted)))])
}

fn secret_of(poster: &Poster) -> &str {
    poster.accepted.secret.as_ref().map_or("", |secret| secret.expose())
}

fn batch(posters: &mut Posters, secret: &str, at: Instant, source: &Source) -> Poster {
    posters.of_with(row(secret), at, |row| source.read(row)).remove("loja").unwrap()
}

#[test]
fn a_source_is_read_once_for_the_batches_of_some_seconds() {
    let (mut posters, source, began) = (Posters::default(), Source::default(), Instant::now());
    source.holds("one");
    for milliseconds in 0..1_000 {
        let at = began + Duration::from_millis(milliseconds);
        assert_eq!(secret_of(&batch(&mut posters, "file:/key", at, &source)), "one");
    }
    assert_eq!(source.reads.get(), 1);
    source.holds("two");
    let poster = batch(&mut posters, "file:/key", began + READ_LASTS, &source);
    assert_eq!((secret_of(&poster), source.reads.get()), ("two", 2));
}

#[test]
fn what_does_not_fit_is_read_again_at_once_but_not_for_every_stranger() {
    let (mut posters, source, began) = (Posters::default(), Source::default(), Instant::now());
    source.holds("one");
    let mut poster = batch(&mut posters, "file:/key", began, &source);
    source.holds("two");
    assert!(!posters.read_again_with(&mut poster, began, |row| source.read(row)), "just read");
    let at = |milliseconds| began + Duration::from_millis(milliseconds);
    for milliseconds in (100..1_000).step_by(100) {
        let mut poster = batch(&mut posters, "file:/key", at(milliseconds), &source);
        let is_read =
            posters.read_again_with(&mut poster, at(milliseconds), |row| source.read(row));
        assert_eq!(is_read, milliseconds == 100, "at {milliseconds} ms");
        assert_eq!(secret_of(&poster), "two");
    }
    assert_eq!(source.reads.get(), 2);
    let mut poster = batch(&mut posters, "file:/key", at(1_100), &source);
    assert!(posters.read_again_with(&mut poster, at(1_100), |row| source.read(row)));
}

#[test]
fn a_row_that_changes_is_followed_at_once() {
    let (mut posters, source, now) = (Posters::default(), Source::default(), Instant::now());
    source.holds("one");
    batch(&mut posters, "file:/key", now, &source);
    batch(&mut posters, "file:/other", now + Duration::from_millis(1), &source);
    assert_eq!(source.reads.get(), 2);
    posters.forget();
    batch(&mut posters, "file:/other", now + Duration::from_millis(2), &source);
    assert_eq!(source.reads.get(), 3);
}

#[test]
fn a_secret_that_stands_in_the_row_is_not_remembered() {
    let (mut posters, source, now) = (Posters::default(), Source::default(), Instant::now());
    let mut poster = batch(&mut posters, "the secret itself", now, &source);
    assert_eq!(secret_of(&poster), "the secret itself");
    assert!(posters.0.is_empty());
    assert!(!posters.read_again_with(&mut poster, now, |row| source.read(row)));
}
