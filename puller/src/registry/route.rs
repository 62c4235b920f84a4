//! Where an image can be had: the registry of its name, and what stands before it.

use super::session::Session;

/// The places to ask for an image, best first.
#[derive(Debug)]
pub(crate) struct Route<'c> {
    sessions: Vec<Session<'c>>,
}

impl<'c> Route<'c> {
    /// A route with these places.
    pub(crate) fn new(sessions: Vec<Session<'c>>) -> Self {
        Self { sessions }
    }

    /// How many places there are.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// One of them.
    pub(crate) fn session(&mut self, index: usize) -> &mut Session<'c> {
        &mut self.sessions[index]
    }
}
