//! `chapterize models`.

use anyhow::Result;
use indicatif::DecimalBytes;

use super::{print, report};
use crate::cache::State;
use crate::cli::{Action, Models};
use crate::hub::Hub;
use crate::progress::Progress;
use crate::registry::{self, ENCODER, ModelSpec, STARTER};

/// Runs the command. `false` where some model failed; the others are done nevertheless.
pub fn run(args: &Models) -> Result<bool> {
    let hub = Hub::from_env(args.offline)?;
    let progress = Progress::new(args.quiet);
    match &args.action {
        Action::List => list(&hub)?,
        Action::Info { name } => info(&hub, &registry::find(name)?)?,
        Action::Path { name } => path(&hub, &registry::find(name)?)?,
        Action::Get { names } => {
            return each(names, &[ENCODER, STARTER], |spec| get(&hub, spec, progress));
        }
        Action::Verify { names } => {
            let all = registry::all();
            let here = all.iter().filter(|spec| hub.cache.holds(spec));
            let here = here.map(|spec| spec.name.as_str()).collect::<Vec<_>>();
            return each(names, &here, |spec| verify(&hub, spec));
        }
        Action::Rm { names } => return each(names, &[], |spec| remove(&hub, spec)),
    }
    Ok(true)
}

/// Does the same for every model named, or for the default ones.
fn each(
    names: &[String],
    default: &[&str],
    act: impl Fn(&ModelSpec) -> Result<()>,
) -> Result<bool> {
    let names = match names {
        [] => default.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let mut fine = true;
    for name in names {
        if let Err(error) = registry::find(name).and_then(|spec| act(&spec)) {
            report(&error);
            fine = false;
        }
    }
    Ok(fine)
}

fn list(hub: &Hub) -> Result<()> {
    let mut text = format!(
        "{:<18} {:<8} {:>6} {:>9} {:>8}  {:<12} {}\n",
        "NAME", "KIND", "SIZE", "DOWNLOAD", "WINDOW", "LICENSE", "HERE"
    );
    for spec in registry::all() {
        let here = if hub.cache.holds(&spec) { "yes" } else { "no" };
        text.push_str(&format!(
            "{:<18} {:<8} {:>6} {:>9} {:>8}  {:<12} {here}\n",
            spec.name,
            spec.kind,
            spec.parameters,
            DecimalBytes(spec.size()).to_string(),
            spec.window,
            spec.license,
        ));
    }
    print(&text)
}

fn info(hub: &Hub, spec: &ModelSpec) -> Result<()> {
    let mut text = format!(
        "{}: {}\nkind      {}\nlicense   {}\nweights   {}\nwindow    {} tokens\nmemory    about {} MB\n",
        spec.name,
        spec.title,
        spec.kind,
        spec.license,
        spec.parameters,
        spec.window,
        spec.memory_mb
    );
    for source in &spec.sources {
        text.push_str(&format!("source    {source}\n"));
    }
    for file in &spec.files {
        let state = match hub.cache.check(spec, file, false)? {
            State::Ready => "here".to_string(),
            State::Missing => "not here".into(),
            State::Damaged(why) => format!("damaged: {why}"),
        };
        text.push_str(&format!(
            "file      {} ({}), {state}\n          sha256 {}\n",
            file.name,
            DecimalBytes(file.size),
            file.sha256
        ));
    }
    print(&text)
}

/// One file: its path. Several: the folder that holds them.
fn path(hub: &Hub, spec: &ModelSpec) -> Result<()> {
    let files = hub.cache.files(spec)?;
    match (&files[..], files[0].parent()) {
        ([_, _, ..], Some(folder)) => print(&format!("{}\n", folder.display())),
        _ => print(&format!("{}\n", files[0].display())),
    }
}

fn get(hub: &Hub, spec: &ModelSpec, progress: Progress) -> Result<()> {
    if hub.cache.state(spec, false)? == State::Ready {
        progress.note(&format!("{} is here already", spec.name));
        return Ok(());
    }
    hub.fetch(spec, progress)?;
    progress.note(&format!("{} is ready", spec.name));
    Ok(())
}

fn verify(hub: &Hub, spec: &ModelSpec) -> Result<()> {
    let name = &spec.name;
    match hub.cache.state(spec, true)? {
        State::Ready => print(&format!("{name}: fine\n")),
        State::Missing => anyhow::bail!("model '{name}' is not on this machine"),
        State::Damaged(why) => {
            anyhow::bail!("{why}; run 'chapterize models get {name}' to fetch it again")
        }
    }
}

fn remove(hub: &Hub, spec: &ModelSpec) -> Result<()> {
    match hub.cache.remove(spec)? {
        0 => anyhow::bail!("model '{}' is not on this machine", spec.name),
        freed => print(&format!("{}: {} freed\n", spec.name, DecimalBytes(freed))),
    }
}
