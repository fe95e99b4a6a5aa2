//! The real models, got by the same code as a user's.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chapterize::hub::Hub;
use chapterize::progress::Progress;
use chapterize::registry;

/// The files of a checkpoint. Without them there is nothing to compare, and a test that skips would hide that.
pub fn files(name: &str) -> Vec<PathBuf> {
    let got =
        Hub::from_env(false).and_then(|hub| hub.get(&registry::find(name)?, Progress::hidden()));
    got.unwrap_or_else(|error| {
        panic!(
            "this test needs the model '{name}', which could not be had: {error:#}; \
             run 'chapterize models get {name}' once with a network"
        )
    })
}

/// Lets one test at a time compute: together they would need the memory of all of them and take as long.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has said so itself; the others still have something to say.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
