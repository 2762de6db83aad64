//! What is sent to each provider and what is made of its answers, from bodies as they were seen on
//! the wire or are printed in the vendors' references.

mod answers;
mod requests;
