//! Words that occur once in all histories: each names who said it, and in which chat of which shop.
//! So every text tells where it comes from, wherever it turns up.

use std::fmt;

/// Who says a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Voice {
    Customer,
    Model,
    Owner,
    OtherClient,
    Operator,
    /// Not said: the contact's name, or the words with which a tenant gives up.
    Mark,
}

impl Voice {
    const ALL: [(char, Self); 6] = [
        ('q', Self::Customer),
        ('r', Self::Model),
        ('o', Self::Owner),
        ('x', Self::OtherClient),
        ('p', Self::Operator),
        ('n', Self::Mark),
    ];

    fn letter(self) -> char {
        Self::ALL.iter().find(|(_, voice)| *voice == self).map_or('?', |(letter, _)| *letter)
    }
}

/// A chat of a history: one of its shops, and one of the customers all shops share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    pub history: u64,
    pub shop: usize,
    pub customer: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shop = if self.shop == 0 { 'a' } else { 'b' };
        let customer = if self.customer == 0 { 'm' } else { 'j' };
        write!(f, "{}{shop}{customer}", self.history)
    }
}

/// `q17am3`: the third thing that customer m said to shop a of history 17.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word {
    pub voice: Voice,
    pub place: Place,
    pub number: u32,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.voice.letter(), self.place, self.number)
    }
}

impl Word {
    fn parse(token: &str) -> Option<Self> {
        let letter = token.chars().next()?;
        let (_, voice) = Voice::ALL.into_iter().find(|(known, _)| *known == letter)?;
        let rest = token.get(1..)?;
        let shop_at = rest.find(['a', 'b'])?;
        let (history, rest) = rest.split_at(shop_at);
        let shop = usize::from(rest.starts_with('b'));
        let customer = match rest.chars().nth(1)? {
            'm' => 0,
            'j' => 1,
            _ => return None,
        };
        let place = Place { history: history.parse().ok()?, shop, customer };
        Some(Self { voice, place, number: rest.get(2..)?.parse().ok()? })
    }
}

/// Every word in a text, in its order.
pub fn words_in(text: &str) -> Vec<Word> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(Word::parse).collect()
}

#[test]
fn words_are_found_in_any_text() {
    let place = Place { history: 17, shop: 1, customer: 0 };
    let word = Word { voice: Voice::Model, place, number: 3 };
    assert_eq!(word.to_string(), "r17bm3");
    assert_eq!(words_in(&format!("*{word}*: (qam, r17bx3, x), {word}.")), [word, word]);
}
