//! JSON in the very bytes in which PostgreSQL keeps a `jsonb` (utils/jsonb.h and numeric.c; the same since
//! 9.4): whoever has read a payload writes them, and no process of PostgreSQL parses the text again. It
//! knows nothing of what the JSON says.

use std::fmt;

/// The kinds of an entry, and what stands in the rest of its 32 bits.
const TEXT: u32 = 0;
const NUMBER: u32 = 0x1000_0000;
const FALSE: u32 = 0x2000_0000;
const TRUE: u32 = 0x3000_0000;
const NULL: u32 = 0x4000_0000;
const CONTAINER: u32 = 0x5000_0000;
const KIND: u32 = 0x7000_0000;
const LENGTH: u32 = 0x0FFF_FFFF;

/// The entry holds where its value ends, and not its length: one in so many does, from the first on.
const HAS_END: u32 = 0x8000_0000;
const STRIDE: usize = 32;

/// The kinds of a container, beside the number of what it holds.
const OBJECT: u32 = 0x2000_0000;
const ARRAY: u32 = 0x4000_0000;

const ALIGNMENT: usize = 4;
const ENTRY_BYTES: usize = 4;

/// A `jsonb` without the word of its length, which is not the same on all machines.
#[derive(Clone, PartialEq, Eq)]
pub struct Jsonb(Vec<u8>);

impl Jsonb {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Its bytes tell nobody anything.
impl fmt::Debug for Jsonb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Jsonb({} bytes)", self.0.len())
    }
}

/// What is known of a value that was written: its kind and its length.
#[derive(Clone, Copy)]
pub(super) struct Entry(u32);

impl Entry {
    pub(super) const NULL: Self = Self(NULL);

    pub(super) fn flag(is_true: bool) -> Self {
        Self(if is_true { TRUE } else { FALSE })
    }
}

#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Something is longer than an entry can say.
    is_too_large: bool,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), is_too_large: false }
    }

    /// The whole, whose outermost value is a container. None: `jsonb` cannot hold it.
    pub(super) fn finish(self) -> Option<Jsonb> {
        (!self.is_too_large).then_some(Jsonb(self.bytes))
    }

    pub(super) fn text(&mut self, text: &str) -> Entry {
        self.bytes.extend_from_slice(text.as_bytes());
        self.entry(TEXT, text.len())
    }

    /// A number as JSON writes it, which `numeric` can hold.
    pub(super) fn number(&mut self, literal: &str) -> Entry {
        let start = self.bytes.len();
        self.align();
        super::numeric::write(literal, &mut self.bytes);
        self.entry(NUMBER, self.bytes.len() - start)
    }

    /// The names must differ. `write` writes a value.
    pub(super) fn object<V>(
        &mut self,
        mut fields: Vec<(&str, V)>,
        mut write: impl FnMut(&mut Self, V) -> Entry,
    ) -> Entry {
        // What is longer comes later, whatever it says.
        fields.sort_unstable_by_key(|(name, _)| (name.len(), *name));
        let count = fields.len();
        self.container(OBJECT, count, 2 * count, |writer, entries| {
            for (name, _) in &fields {
                let entry = writer.text(name);
                entries.add(writer, entry);
            }
            for (_, value) in fields {
                let entry = write(writer, value);
                entries.add(writer, entry);
            }
        })
    }

    pub(super) fn array<V>(
        &mut self,
        items: impl ExactSizeIterator<Item = V>,
        mut write: impl FnMut(&mut Self, V) -> Entry,
    ) -> Entry {
        let count = items.len();
        self.container(ARRAY, count, count, |writer, entries| {
            for item in items {
                let entry = write(writer, item);
                entries.add(writer, entry);
            }
        })
    }

    fn container(
        &mut self,
        kind: u32,
        count: usize,
        entries: usize,
        fill: impl FnOnce(&mut Self, &mut Entries),
    ) -> Entry {
        let start = self.bytes.len();
        self.align();
        let Entry(header) = self.entry(kind, count);
        self.bytes.extend_from_slice(&header.to_ne_bytes());
        let mut places = Entries { next: self.bytes.len(), written: 0, end: 0 };
        self.bytes.resize(places.next + entries * ENTRY_BYTES, 0);
        fill(self, &mut places);
        self.entry(CONTAINER, self.bytes.len() - start)
    }

    fn entry(&mut self, kind: u32, length: usize) -> Entry {
        let length = u32::try_from(length).ok().filter(|length| *length <= LENGTH);
        self.is_too_large |= length.is_none();
        Entry(kind | length.unwrap_or_default())
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

/// The entries of a container, before its values.
struct Entries {
    /// Where the next one is to stand.
    next: usize,
    written: usize,
    /// Where the last value ended, counted from the first.
    end: u32,
}

impl Entries {
    fn add(&mut self, writer: &mut Writer, Entry(entry): Entry) {
        self.end = self.end.saturating_add(entry & LENGTH);
        writer.is_too_large |= self.end > LENGTH;
        let has_end = self.written.is_multiple_of(STRIDE);
        let entry = if has_end { entry & KIND | self.end | HAS_END } else { entry };
        let place = self.next..self.next + ENTRY_BYTES;
        if let Some(place) = writer.bytes.get_mut(place) {
            place.copy_from_slice(&entry.to_ne_bytes());
        }
        self.next += ENTRY_BYTES;
        self.written += 1;
    }
}

#[cfg(test)]
pub(super) mod tests;
