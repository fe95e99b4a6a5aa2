//! `chapterize models list`: what there is, what it takes, and what of it is here.

use crate::hub::Hub;
use crate::machine::size;
use crate::registry::{self, Kind, ModelSpec};

/// Under a hundred columns, so that it fits a terminal.
pub fn list(hub: &Hub) -> String {
    let mut specs = registry::all();
    specs.sort_by_key(|spec| (spec.kind, spec.size()));
    let auto = hub.best().map(|spec| spec.name).unwrap_or_default();
    let mut text = row(' ', &HEADER, "STATE");
    for spec in &specs {
        let mark = if spec.name == auto { '*' } else { ' ' };
        text.push_str(&row(mark, &spec.cells(), state(hub, spec)));
    }
    text.push_str(&format!(
        "\n* what '-m auto' takes on this machine, which has {} of memory. A model of kind '{}' finds\n  \
         chapters, all others write. A hub id, a folder or a .gguf file will do for '-m', too.\n",
        size(hub.machine.memory),
        Kind::Encoder
    ));
    let known = specs.iter().filter_map(|spec| spec.hub().ok());
    let known = known.map(|(repo, _)| repo).collect::<Vec<_>>();
    let others = hub.cache.hub_ids().into_iter();
    let others = others.filter(|id| !known.contains(&id.repo.as_str()));
    for (i, id) in others.enumerate() {
        if i == 0 {
            text.push_str("\nAlso in the cache:\n");
        }
        let checkpoint = hub.cache.resolve(&id.wanted()).ok().flatten();
        let bytes = checkpoint.map_or(0, |checkpoint| checkpoint.size());
        text.push_str(&format!("  {id} ({})\n", size(bytes)));
    }
    text
}

const HEADER: [&str; 7] = [
    "NAME", "KIND", "WEIGHTS", "DOWNLOAD", "MEMORY", "WINDOW", "LICENSE",
];

fn row(mark: char, cells: &[impl AsRef<str>; 7], state: &str) -> String {
    let [name, kind, weights, download, memory, window, license] =
        cells.each_ref().map(AsRef::as_ref);
    format!(
        "{mark} {name:<17} {kind:<8} {weights:>7} {download:>9} {memory:>8} {window:>7}  {license:<11} {state}\n"
    )
}

/// Whether it is here, and whether it would run.
fn state(hub: &Hub, spec: &ModelSpec) -> &'static str {
    match (hub.has(spec), spec.memory() <= hub.machine.memory) {
        (true, true) => "on disk",
        (true, false) => "on disk, too big",
        (false, true) => "fits",
        (false, false) => "too big",
    }
}
