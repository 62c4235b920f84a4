//! Which stretches of a blob are there, which are being fetched, which are missing.

use std::fs::File;
use std::sync::Arc;

use super::Gap;

/// One file: bytes `start..end` are in it, and it is meant to hold them up to `limit`.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) limit: u64,
    busy: bool,
}

/// All parts of a blob in the order of their bytes; none reaches into the next.
#[derive(Debug)]
pub(super) struct Parts {
    size: u64,
    parts: Vec<Part>,
}

impl Parts {
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            parts: Vec::new(),
        }
    }

    /// Takes a file of earlier that holds `length` bytes from `start` on, behind all others.
    pub(super) fn add(&mut self, start: u64, file: Arc<File>, length: u64) {
        if let Some(last) = self.parts.last_mut() {
            last.limit = start;
            last.end = last.end.min(start);
        }
        self.parts.push(Part {
            file,
            start,
            end: start.saturating_add(length).min(self.size),
            limit: self.size,
            busy: false,
        });
    }

    pub(super) fn received(&self) -> u64 {
        self.parts.iter().map(|part| part.end - part.start).sum()
    }

    pub(super) fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut next = 0;
        for part in &self.parts {
            gaps.push(Gap {
                start: next,
                end: part.start,
            });
            if !part.busy {
                gaps.push(Gap {
                    start: part.end,
                    end: part.limit,
                });
            }
            next = part.limit;
        }
        gaps.push(Gap {
            start: next,
            end: self.size,
        });
        gaps.retain(|gap| gap.start < gap.end);
        gaps
    }

    /// Marks the part that a gap follows on as being filled, and gives where that part starts.
    pub(super) fn resume(&mut self, gap: Gap) -> Option<u64> {
        let part = self
            .parts
            .iter_mut()
            .find(|part| part.end == gap.start && part.limit == gap.end && !part.busy)?;
        part.busy = true;
        Some(part.start)
    }

    /// Adds an empty part for a gap that follows on no part, being filled.
    pub(super) fn begin(&mut self, gap: Gap, file: Arc<File>) {
        let at = self.parts.partition_point(|part| part.start < gap.start);
        self.parts.insert(
            at,
            Part {
                file,
                start: gap.start,
                end: gap.start,
                limit: gap.end,
                busy: true,
            },
        );
    }

    /// The part that starts at `start`.
    pub(super) fn at(&mut self, start: u64) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.start == start)
    }

    /// The part that holds the byte at `at`, or will.
    pub(super) fn holding(&self, at: u64) -> Option<&Part> {
        self.parts
            .iter()
            .find(|part| part.start <= at && at < part.limit)
    }

    pub(super) fn release(&mut self, start: u64) {
        if let Some(part) = self.at(start) {
            part.busy = false;
        }
    }

    /// Gives the stretches of parts with nothing in them to the part before each.
    pub(super) fn join_empty(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        for part in parts {
            match self.parts.last_mut() {
                Some(last) if part.start == part.end && !part.busy => last.limit = part.limit,
                _ => self.parts.push(part),
            }
        }
    }

    /// Whether no part is being filled.
    pub(super) fn is_idle(&self) -> bool {
        self.parts.iter().all(|part| !part.busy)
    }

    /// Whether only the part that starts at `start` is being filled.
    pub(super) fn is_alone(&self, start: u64) -> bool {
        self.parts
            .iter()
            .all(|part| !part.busy || part.start == start)
    }

    /// Forgets the last byte when all are there, so that somebody must still be asked for it.
    pub(super) fn leave_one_to_ask_for(&mut self) {
        if self.received() == self.size
            && let Some(last) = self.parts.last_mut()
        {
            last.end = last.end.saturating_sub(1).max(last.start);
        }
    }

    pub(super) fn split(&mut self, least: u64) -> Option<Gap> {
        let busy = self.parts.iter_mut().filter(|part| part.busy);
        let largest = busy.max_by_key(|part| part.limit - part.end)?;
        let left = largest.limit - largest.end;
        if left < least.saturating_mul(2) {
            return None;
        }
        let gap = Gap {
            start: largest.end + left / 2,
            end: largest.limit,
        };
        largest.limit = gap.start;
        Some(gap)
    }

    /// Drops all parts but those that join up from the first byte on; returns where they started.
    pub(super) fn keep_front(&mut self) -> Vec<u64> {
        let mut joined = 0;
        let count = self
            .parts
            .iter()
            .take_while(|part| {
                let joins = part.start == joined;
                joined = part.end;
                joins
            })
            .count();
        let dropped = self.parts.split_off(count);
        if let Some(last) = self.parts.last_mut() {
            last.limit = self.size;
        }
        dropped.iter().map(|part| part.start).collect()
    }
}
