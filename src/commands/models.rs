//! `chapterize models`.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};

use super::list::list;
use super::{Usage, print, report};
use crate::cache::State;
use crate::cli::{Action, Models};
use crate::hash::sha256;
use crate::hub::{Fit, Hub, TooBig};
use crate::machine::size;
use crate::model_ref::ModelRef;
use crate::progress::Progress;
use crate::registry::{self, ENCODER, ModelSpec, STARTER};
use crate::repo::{Checkpoint, Files, Wanted};

/// A model that was named, and its manifest where it has one.
struct Target {
    wanted: Wanted,
    spec: Option<ModelSpec>,
}

/// What a name leads to.
enum Place {
    Cache(Box<Target>),
    /// A folder or file of the user's own.
    Own(PathBuf),
}

/// Runs the command. `false` where some model failed; the others are done nevertheless.
pub fn run(args: &Models) -> Result<bool> {
    let hub = Hub::from_env(args.offline)?;
    let progress = Progress::new(args.quiet);
    let place = |name: &str| place(&hub, name, progress);
    match &args.action {
        Action::List => print(&list(&hub))?,
        Action::Info { name } => info(&hub, place(name)?)?,
        Action::Path { name } => path(&hub, &place(name)?)?,
        Action::Get { names, force } => {
            let fit = if *force { Fit::Ignored } else { Fit::Required };
            let places = places(names, &[ENCODER, STARTER], place)?;
            return Ok(each(&places, |place| get(&hub, place, fit, progress)));
        }
        Action::Verify { names } => {
            let all = registry::all();
            let here = all.iter().filter(|spec| hub.has(spec));
            let here = here.map(|spec| spec.name.as_str()).collect::<Vec<_>>();
            let places = places(names, &here, place)?;
            return Ok(each(&places, |place| verify(&hub, place)));
        }
        Action::Rm { names } => {
            let places = places(names, &[], place)?;
            return Ok(each(&places, |place| remove(&hub, place)));
        }
    }
    Ok(true)
}

/// Reads a name.
fn place(hub: &Hub, name: &str, progress: Progress) -> Result<Place> {
    let model = ModelRef::parse(name).map_err(|error| Usage(format!("{error:#}")))?;
    if let Some(note) = model.note(name) {
        progress.note(&note);
    }
    let spec = match model {
        ModelRef::Auto => hub.best()?,
        ModelRef::Known(spec) => *spec,
        ModelRef::Hub(id) => {
            let wanted = id.wanted();
            return Ok(Place::Cache(Box::new(Target { wanted, spec: None })));
        }
        ModelRef::Path(path) => return Ok(Place::Own(path)),
    };
    Ok(Place::Cache(Box::new(Target {
        wanted: spec.wanted()?,
        spec: Some(spec),
    })))
}

/// Reads every name, or the default ones, before anything is done for the first.
fn places(
    names: &[String],
    default: &[&str],
    place: impl Fn(&str) -> Result<Place>,
) -> Result<Vec<Place>> {
    match names {
        [] => default.iter().map(|name| place(name)).collect(),
        names => names.iter().map(|name| place(name)).collect(),
    }
}

/// Does the same for every model; `false` where that failed for some.
fn each(places: &[Place], act: impl Fn(&Place) -> Result<()>) -> bool {
    let failed = places.iter().filter_map(|place| act(place).err());
    failed.map(|error| report(&error)).count() == 0
}

fn info(hub: &Hub, place: Place) -> Result<()> {
    let target = match place {
        Place::Cache(target) => *target,
        Place::Own(path) => {
            return print(&format!(
                "{}\nof your own: nothing else is known\n",
                path.display()
            ));
        }
    };
    let Target { wanted, spec } = &target;
    let mut text = match spec {
        Some(spec) => about(spec),
        None => format!("{}\nkind      unknown\n", wanted.name),
    };
    for source in &wanted.sources {
        text.push_str(&format!("source    {source}\n"));
    }
    text.push_str(&format!("revision  {}\n", wanted.revision));
    match (hub.cache.resolve(wanted)?, &wanted.files) {
        (Some(checkpoint), _) => text.push_str(&files(hub, &checkpoint)?),
        (None, Files::Named(known)) => {
            let checkpoint = Checkpoint {
                name: wanted.name.clone(),
                repo: wanted.repo.clone(),
                commit: wanted.revision.clone(),
                files: known.clone(),
                note: None,
            };
            text.push_str(&files(hub, &checkpoint)?);
        }
        (None, Files::Chosen(_)) => text.push_str("files     as the hub lists them, not here\n"),
    }
    print(&text)
}

fn about(spec: &ModelSpec) -> String {
    format!(
        "{}: {}\nkind      {}\nlicense   {}\nweights   {}\nwindow    {} tokens\ndownload  {}\nmemory    about {}\n",
        spec.name,
        spec.title,
        spec.kind,
        spec.license,
        spec.parameters,
        spec.window,
        size(spec.size()),
        size(spec.memory())
    )
}

/// A line per file, and one for its hash.
fn files(hub: &Hub, checkpoint: &Checkpoint) -> Result<String> {
    let mut text = String::new();
    for file in &checkpoint.files {
        let state = match hub.cache.check(checkpoint, file, false)? {
            State::Ready => "here".to_string(),
            State::Missing => "not here".into(),
            State::Damaged(why) => format!("damaged: {why}"),
        };
        let bytes = file.size.map_or("size unknown".into(), size);
        text.push_str(&format!("file      {} ({bytes}), {state}\n", file.name));
        if let Some(hash) = &file.hash {
            text.push_str(&format!("          {hash}\n"));
        }
    }
    Ok(text)
}

/// One file: its path. Several: the folder that holds them.
fn path(hub: &Hub, place: &Place) -> Result<()> {
    let path = match place {
        Place::Cache(target) => hub.cache.find(&target.wanted)?.entry(),
        Place::Own(path) => path.clone(),
    };
    print(&format!("{}\n", path.display()))
}

fn get(hub: &Hub, place: &Place, fit: Fit, progress: Progress) -> Result<()> {
    let Place::Cache(target) = place else {
        progress.note("a folder or file of your own is not fetched");
        return Ok(());
    };
    let wanted = &target.wanted;
    if let Some(checkpoint) = hub.cache.resolve(wanted)?
        && hub.cache.state(&checkpoint, false)? == State::Ready
    {
        progress.note(&format!("{} is here already", wanted.name));
        return Ok(());
    }
    hub.fetch(wanted, fit, progress)
        .map_err(|error| match error.is::<TooBig>() {
            true => anyhow!("{error}; --force fetches it all the same"),
            false => error,
        })?;
    progress.note(&format!("{} is ready", wanted.name));
    Ok(())
}

fn verify(hub: &Hub, place: &Place) -> Result<()> {
    let wanted = match place {
        Place::Cache(target) => &target.wanted,
        Place::Own(path) if path.is_file() => {
            return print(&format!("{}: sha256 {}\n", path.display(), sha256(path)?));
        }
        Place::Own(path) => bail!("{}: there is nothing to compare it with", path.display()),
    };
    let name = &wanted.name;
    let Some(checkpoint) = hub.cache.resolve(wanted)? else {
        bail!("model '{name}' is not on this machine");
    };
    match hub.cache.state(&checkpoint, true)? {
        State::Ready => print(&format!("{name}: fine\n")),
        State::Missing => bail!("model '{name}' is not on this machine"),
        State::Damaged(why) => bail!("{why}; run 'chapterize models get {name}' to fetch it again"),
    }
}

fn remove(hub: &Hub, place: &Place) -> Result<()> {
    let wanted = match place {
        Place::Cache(target) => &target.wanted,
        Place::Own(path) => bail!(
            "{}: not in the cache; only you may remove it",
            path.display()
        ),
    };
    let freed = match hub.cache.resolve(wanted)? {
        Some(checkpoint) => hub.cache.remove(&checkpoint)?,
        None => 0,
    };
    match freed {
        0 => bail!("model '{}' is not on this machine", wanted.name),
        freed => print(&format!("{}: {} freed\n", wanted.name, size(freed))),
    }
}
