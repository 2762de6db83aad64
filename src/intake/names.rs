//! The names that a batch of messages gives to chats: looked up together, and those that nobody has used
//! yet reserved together, before any session is locked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::chat::writings;
use crate::error::Result;
use crate::store::arrivals::{self, Arriving, Named, Standing};
use crate::store::tenants::Tenant;
use crate::store::{Chat, chat_aliases};
use crate::webhook::{Jid, Message};

/// What a message calls its chat.
pub struct Calls<'a> {
    pub tenant_id: i32,
    /// As the message says it.
    pub said: Vec<&'a Jid>,
    /// The same in all writings.
    pub writings: Vec<String>,
}

impl<'a> Calls<'a> {
    pub fn of(tenant: &Tenant, message: &'a Message) -> Self {
        let alt = message.alt.as_ref().filter(|alt| !tenant.owns(alt));
        let said: Vec<&Jid> = std::iter::once(&message.jid).chain(alt).collect();
        let writings = writings(&mut said.iter().copied());
        Self { tenant_id: tenant.id, said, writings }
    }

    /// What a stored message is found under.
    pub fn by_stored(chat: &Chat) -> Self {
        let writings = vec![chat.chat_id.clone()];
        Self { tenant_id: chat.tenant_id, said: Vec::new(), writings }
    }
}

/// What is known of every name of a batch.
#[derive(Default)]
pub struct Names {
    /// By tenant and name.
    known: HashMap<i32, HashMap<String, Named>>,
}

impl Names {
    /// Looks up what messages call their chats, and which of `arriving` came before, by their places.
    pub fn look_up<'a>(
        calls: impl Iterator<Item = &'a Calls<'a>>,
        arriving: &[Arriving<'_>],
    ) -> Result<(Self, Vec<usize>)> {
        let mut names = Self::default();
        let seen = names.learn(calls, arriving)?;
        Ok((names, seen))
    }

    /// Names that no chat has yet are reserved, and looked up once more: another batch may have been first.
    pub fn reserve_new<'a>(&mut self, calls: impl Iterator<Item = &'a Calls<'a>>) -> Result<()> {
        let new: Vec<&Calls<'_>> = calls.filter(|calls| self.has_new(calls)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let reserved: BTreeSet<(i32, &str)> = new.iter().flat_map(|calls| pairs(calls)).collect();
        chat_aliases::reserve_all(&reserved.into_iter().collect::<Vec<_>>())?;
        self.learn(new.into_iter(), &[])?;
        Ok(())
    }

    fn learn<'a>(
        &mut self,
        calls: impl Iterator<Item = &'a Calls<'a>>,
        arriving: &[Arriving<'_>],
    ) -> Result<Vec<usize>> {
        let asked: BTreeSet<(i32, &str)> = calls.flat_map(pairs).collect();
        let asked: Vec<(i32, &str)> = asked.into_iter().collect();
        let known = arrivals::look_up(&asked, arriving)?;
        for (place, named) in known.names {
            if let Some((tenant_id, name)) = asked.get(place) {
                let of_tenant = self.known.entry(*tenant_id).or_default();
                of_tenant.insert((*name).to_owned(), named);
            }
        }
        Ok(known.seen)
    }

    fn has_new(&self, calls: &Calls<'_>) -> bool {
        calls.said.iter().any(|jid| self.get(calls.tenant_id, jid.as_str()).is_none())
    }

    pub fn get(&self, tenant_id: i32, name: &str) -> Option<&Named> {
        self.known.get(&tenant_id)?.get(name)
    }

    /// The chats that a message may belong to, of those that have a session.
    pub fn chats<'s>(&'s self, calls: &Calls<'_>) -> BTreeMap<&'s str, &'s Standing> {
        let named = calls.writings.iter().filter_map(|name| self.get(calls.tenant_id, name));
        let standing = named.filter_map(|named| named.leads_to.as_ref());
        standing.map(|standing| (standing.session.chat.chat_id.as_str(), standing)).collect()
    }
}

fn pairs<'a>(calls: &'a Calls<'_>) -> impl Iterator<Item = (i32, &'a str)> {
    calls.writings.iter().map(|name| (calls.tenant_id, name.as_str()))
}
