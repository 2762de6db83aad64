//! Which database the listener serves. Pure.

/// What the launcher knows of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub database: u32,
    pub name: String,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Whether it has the extension is being found out.
    Undecided,
    HasExtension,
    /// It has, but its processes were stopped by hand.
    Stopped,
    WithoutExtension,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing shall listen.
    Off,
    /// It will be known in a moment.
    NotYet,
    Serve(u32),
    /// Several databases have the extension, and no setting names one.
    Several,
    /// The database that the setting names does not have the extension, or is not there.
    NotThere(String),
    /// No database has the extension.
    Nowhere,
    Stopped,
}

/// `listen` and `named` are the settings `whaply.listen` and `whaply.database`.
pub fn choose(listen: Option<&str>, named: Option<&str>, known: &[Known]) -> Choice {
    if listen.is_none() {
        return Choice::Off;
    }
    if let Some(named) = named {
        return match known.iter().find(|one| one.name == named) {
            Some(one) => match one.state {
                State::HasExtension => Choice::Serve(one.database),
                State::Stopped => Choice::Stopped,
                State::Undecided => Choice::NotYet,
                State::WithoutExtension => Choice::NotThere(named.to_owned()),
            },
            None => Choice::NotThere(named.to_owned()),
        };
    }
    let having: Vec<&Known> = known
        .iter()
        .filter(|one| matches!(one.state, State::HasExtension | State::Stopped))
        .collect();
    if having.len() > 1 {
        return Choice::Several;
    }
    if known.iter().any(|one| one.state == State::Undecided) {
        return Choice::NotYet;
    }
    match having.as_slice() {
        [one] if one.state == State::Stopped => Choice::Stopped,
        [one] => Choice::Serve(one.database),
        _ => Choice::Nowhere,
    }
}

impl Choice {
    /// Among several databases the one that was served goes on to be, if its listener only made way for a
    /// command: a copy of a database must not close the door of the original.
    pub fn or_go_on_with(self, served: Option<u32>, known: &[Known]) -> Self {
        if self != Self::Several {
            return self;
        }
        let served = known.iter().find(|one| Some(one.database) == served);
        match served.map(|one| (one.state, one.database)) {
            Some((State::HasExtension, database)) => Self::Serve(database),
            Some((State::Undecided, _)) => Self::NotYet,
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<&str> = Some("127.0.0.1:8480");

    fn known(states: &[State]) -> Vec<Known> {
        let known = |(place, state): (usize, &State)| {
            let database = u32::try_from(place).unwrap_or_default();
            Known { database, name: format!("db{place}"), state: *state }
        };
        states.iter().enumerate().map(known).collect()
    }

    #[test]
    fn the_only_database_with_the_extension_is_served() {
        use State::*;
        for (states, choice) in [
            (&[WithoutExtension, HasExtension][..], Choice::Serve(1)),
            (&[WithoutExtension], Choice::Nowhere),
            (&[], Choice::Nowhere),
            (&[HasExtension, Stopped], Choice::Several),
            (&[HasExtension, HasExtension, Undecided], Choice::Several),
            (&[HasExtension, Undecided], Choice::NotYet),
            (&[Stopped], Choice::Stopped),
        ] {
            assert_eq!(choose(HERE, None, &known(states)), choice, "{states:?}");
        }
        assert_eq!(choose(None, None, &known(&[HasExtension])), Choice::Off);
    }

    #[test]
    fn a_database_that_is_named_is_served_whatever_the_others_have() {
        use State::*;
        let all = known(&[HasExtension, Undecided, HasExtension, WithoutExtension, Stopped]);
        for (name, choice) in [
            ("db2", Choice::Serve(2)),
            ("db1", Choice::NotYet),
            ("db3", Choice::NotThere("db3".to_owned())),
            ("db4", Choice::Stopped),
            ("other", Choice::NotThere("other".to_owned())),
        ] {
            assert_eq!(choose(HERE, Some(name), &all), choice, "{name}");
        }
    }

    #[test]
    fn of_several_the_one_that_was_served_goes_on_to_be_while_it_has_the_extension() {
        use State::*;
        let all = known(&[HasExtension, HasExtension, Stopped, Undecided]);
        for (choice, served, expected) in [
            (Choice::Several, Some(0), Choice::Serve(0)),
            (Choice::Several, Some(1), Choice::Serve(1)),
            (Choice::Several, Some(2), Choice::Several),
            (Choice::Several, Some(3), Choice::NotYet),
            (Choice::Several, Some(9), Choice::Several),
            (Choice::Several, None, Choice::Several),
            (Choice::Serve(1), Some(0), Choice::Serve(1)),
            (Choice::Off, Some(1), Choice::Off),
        ] {
            let chosen = choice.clone().or_go_on_with(served, &all);
            assert_eq!(chosen, expected, "{choice:?}, {served:?}");
        }
    }
}
