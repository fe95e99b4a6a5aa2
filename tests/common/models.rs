//! The real models, got by the same code as a user's.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chapterize::hub::Hub;
use chapterize::progress::Progress;
use chapterize::registry::{self, ModelSpec};

/// The files of a checkpoint of the registry.
pub fn files(name: &str) -> Vec<PathBuf> {
    files_of(&registry::find(name).expect("a checkpoint of the registry"))
}

/// The files of a checkpoint. Without them there is nothing to compare, and a test that skips would hide that.
pub fn files_of(spec: &ModelSpec) -> Vec<PathBuf> {
    let got = Hub::from_env(false)
        .and_then(|hub| Ok(hub.get(&spec.wanted()?, Progress::hidden())?.paths()));
    got.unwrap_or_else(|error| {
        panic!(
            "this test needs the model '{}', which could not be had: {error:#}; run it once with a network",
            spec.name
        )
    })
}

/// Lets one test at a time compute: together they would need the memory of all of them and take as long.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has said so itself; the others still have something to say.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
