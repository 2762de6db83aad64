//! Batches against single events, in the server: whatever comes together leaves the same rows, and is told
//! the same, as if each event had come alone. Each test is one transaction that is rolled back.

mod fixtures;
mod mixes;
mod tables;
