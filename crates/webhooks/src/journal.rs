//! The order of writes: one writer at a time over all instances.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use postrider_types::{Notice, StatusChange, WebhookId};

use crate::directory::Directory;
use crate::refusal::Refusal;
use crate::status;

/// A record that a change appends.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A webhook's document; `None` removes it for good.
    Document(WebhookId, Option<Vec<u8>>),
    /// Says something else of a webhook than postrider did.
    Status(StatusChange),
    /// Forgets what postrider made of a managed webhook.
    NoStatus(WebhookId),
    /// What operators and the merchant should hear of.
    Notice(Notice),
}

/// Decides by the directory as it is now what to append. Is asked again when another writer was first, or
/// when what became of a try is not known: what it said then may be in the directory by now.
pub type Decide<'a> = &'a (dyn Fn() -> Result<Vec<Entry>, Refusal> + Send + Sync);

/// A write under way.
pub type Written<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// Where changes are written.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Keeps other writers out, brings the directory up to the end of the topic, asks `decide`, appends what it says
    /// in one transaction, and ends once the directory has taken it in.
    fn write<'a>(&'a self, decide: Decide<'a>) -> Written<'a>;
}

/// Asks what would be written, and writes nothing.
#[derive(Debug)]
pub(crate) struct Rehearsal;

impl Journal for Rehearsal {
    fn write<'a>(&'a self, decide: Decide<'a>) -> Written<'a> {
        Box::pin(async move { decide().map(drop) })
    }
}

/// A journal that nobody else reads, for tests and tools: it goes straight into the directory.
#[derive(Debug)]
pub struct MemoryJournal {
    directory: Arc<Directory>,
    notices: parking_lot::Mutex<Vec<Notice>>,
}

impl MemoryJournal {
    /// Writes to a directory.
    #[must_use]
    pub fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            notices: parking_lot::Mutex::default(),
        }
    }

    /// The notices so far.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.lock().clone()
    }
}

impl Journal for MemoryJournal {
    fn write<'a>(&'a self, decide: Decide<'a>) -> Written<'a> {
        Box::pin(async move {
            // Held over the decision: nobody decides by what another is about to change.
            let mut notices = self.notices.lock();
            for entry in decide()? {
                match entry {
                    Entry::Document(id, value) => self.directory.take_in(id.as_str().as_bytes(), value.as_deref()),
                    Entry::Status(change) => {
                        let key = status::key(&change.webhook_id);
                        self.directory.take_in(key.as_bytes(), Some(&status::record(change)));
                    }
                    Entry::NoStatus(id) => self.directory.take_in(status::key(&id).as_bytes(), None),
                    Entry::Notice(notice) => notices.push(notice),
                }
            }
            Ok(())
        })
    }
}
