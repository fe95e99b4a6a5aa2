//! A hub on loopback, for tests: as much of the real one's HTTP as a download needs, on a port of its own.
//!
//! A large file is answered with a redirect (302) to an absolute address that knows nothing of the repository, as
//! LFS files are; a small one with a redirect (307) to a path on the hub itself, as files kept in git are.
#![allow(dead_code)]

#[path = "http.rs"]
mod http;

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once};
use std::thread::JoinHandle;
use std::time::Duration;

pub use http::Request;
use http::{head, read_request};

/// Where the real hub keeps a file, which decides how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    Git,
    Lfs,
}

/// What is wrong with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// Every request gets this status.
    Status(u16),
    /// Everybody may see the list, but files only with a token whose owner accepted the terms.
    Gated,
    /// The connection ends before this byte of any file is sent.
    CutAt(usize),
    /// The same, but only the first time.
    CutOnceAt(usize),
}

/// Serves files of repositories until it is dropped.
pub struct HubServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    stop: AtomicBool,
    state: Mutex<State>,
}

struct State {
    files: HashMap<String, Stored>,
    /// Branches and tags, as `repo@name`, and their commits.
    refs: HashMap<String, String>,
    /// Whether the list gives sizes and hashes; a mirror's may not.
    blobs: bool,
    trouble: Trouble,
    requests: Vec<Request>,
}

#[derive(Clone)]
struct Stored {
    body: Vec<u8>,
    etag: String,
    commit: String,
    storage: Storage,
}

impl Stored {
    /// As the list has it.
    fn listed(&self, name: &str, blobs: bool) -> String {
        let (size, etag) = (self.body.len(), &self.etag);
        let more = match self.storage {
            _ if !blobs => String::new(),
            Storage::Git => format!(",\"size\":{size},\"blobId\":\"{etag}\""),
            Storage::Lfs => {
                let pointer = "f".repeat(40);
                let lfs = format!("{{\"sha256\":\"{etag}\",\"size\":{size},\"pointerSize\":134}}");
                format!(",\"size\":{size},\"blobId\":\"{pointer}\",\"lfs\":{lfs}")
            }
        };
        format!("{{\"rfilename\":\"{name}\"{more}}}")
    }
}

impl HubServer {
    pub fn start() -> Self {
        without_proxies();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            address,
            stop: AtomicBool::new(false),
            state: Mutex::new(State {
                files: HashMap::new(),
                refs: HashMap::new(),
                blobs: true,
                trouble: Trouble::None,
                requests: Vec::new(),
            }),
        });
        let served = Arc::clone(&shared);
        let thread = Some(std::thread::spawn(move || served.accept(&listener)));
        Self { shared, thread }
    }

    /// What `HF_ENDPOINT` would be.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Puts a file into a repository at a commit. `hash` is what the hub claims the file's hash to be: a sha256 for
    /// LFS, a git id for git.
    pub fn put(
        &self,
        repo: &str,
        commit: &str,
        name: &str,
        body: &[u8],
        hash: &str,
        storage: Storage,
    ) {
        let stored = Stored {
            body: body.to_vec(),
            etag: hash.into(),
            commit: commit.into(),
            storage,
        };
        let path = format!("{repo}/resolve/{commit}/{name}");
        self.shared.state().files.insert(path, stored);
    }

    /// Makes a branch or tag stand for a commit.
    pub fn set_ref(&self, repo: &str, name: &str, commit: &str) {
        let key = format!("{repo}@{name}");
        self.shared.state().refs.insert(key, commit.into());
    }

    /// Lists names only from now on.
    pub fn without_blobs(&self) {
        self.shared.state().blobs = false;
    }

    pub fn trouble(&self, trouble: Trouble) {
        self.shared.state().trouble = trouble;
    }

    /// The requests since the last call, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.state().requests)
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread from `accept`.
        let _ = TcpStream::connect(self.shared.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }

    /// One connection after another: the client has never more than one open.
    fn accept(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            // A client that goes away in the middle is not the server's concern.
            let _ = stream.and_then(|stream| self.serve(stream));
        }
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let Some(request) = read_request(&stream)? else {
            return Ok(());
        };
        let (stored, trouble) = {
            let mut state = self.state();
            state.requests.push(request.clone());
            let stored = state.files.get(resource(&request.path)).cloned();
            (stored, state.trouble)
        };
        let listing = request.path.strip_prefix("/api/models/");
        let answer = match (trouble, stored) {
            (Trouble::Status(status), _) => head(status, &[], 0).into_bytes(),
            _ if listing.is_some() => self
                .list(listing.unwrap_or_default(), &request)
                .into_bytes(),
            (Trouble::Gated, _) if request.authorization.is_none() => {
                head(401, &[], 0).into_bytes()
            }
            (_, None) => head(404, &[], 0).into_bytes(),
            (_, Some(stored)) => match self.redirect(&request.path, &stored) {
                Some(answer) => answer.into_bytes(),
                None => self.file(&request, &stored),
            },
        };
        stream.write_all(&answer)?;
        stream.flush()
    }

    /// The answer to `GET /api/models/{repo}/revision/{revision}`.
    fn list(&self, path: &str, request: &Request) -> String {
        let state = self.state();
        let path = path.split('?').next().unwrap_or_default();
        let (repo, revision) = path.split_once("/revision/").unwrap_or((path, "main"));
        let revision = revision.replace("%2F", "/");
        let at = |commit: &str| format!("{repo}/resolve/{commit}/");
        let refs = state.refs.get(&format!("{repo}@{revision}"));
        let commit = refs.unwrap_or(&revision);
        let inside = |path: &String, start: &str| path.starts_with(start);
        if !state
            .files
            .keys()
            .any(|path| inside(path, &format!("{repo}/")))
        {
            let status = if request.authorization.is_some() {
                404
            } else {
                401
            };
            return head(status, &[("x-error-code", "RepoNotFound".into())], 0);
        }
        let mut files = state
            .files
            .iter()
            .filter(|(path, _)| inside(path, &at(commit)));
        let siblings = files.by_ref().map(|(path, stored)| {
            let name = path[at(commit).len()..].to_string();
            stored.listed(&name, state.blobs)
        });
        let siblings = siblings.collect::<Vec<_>>();
        if siblings.is_empty() {
            return head(404, &[("x-error-code", "RevisionNotFound".into())], 0);
        }
        let gated = if state.trouble == Trouble::Gated {
            "\"manual\""
        } else {
            "false"
        };
        let body = format!(
            "{{\"sha\":\"{commit}\",\"gated\":{gated},\"siblings\":[{}]}}",
            siblings.join(",")
        );
        head(200, &[], body.len()) + &body
    }

    /// The bytes asked for, as far as the line holds: nothing at all where it breaks before the first of them.
    fn file(&self, request: &Request, stored: &Stored) -> Vec<u8> {
        let size = stored.body.len();
        let (start, last) = request.range.unwrap_or((0, None));
        let end = last.map_or(size, |last| size.min(last + 1));
        if start >= end {
            let range = ("content-range", format!("bytes */{size}"));
            return head(416, &[range], 0).into_bytes();
        }
        let sent = self.line_holds_to(end);
        if sent <= start {
            return Vec::new();
        }
        let mut answer = file_head(request, stored, start, end).into_bytes();
        answer.extend(&stored.body[start..sent]);
        answer
    }

    /// `end`, or the byte before it at which the connection breaks.
    fn line_holds_to(&self, end: usize) -> usize {
        let mut state = self.state();
        match state.trouble {
            Trouble::CutAt(byte) => end.min(byte),
            Trouble::CutOnceAt(byte) if byte < end => {
                state.trouble = Trouble::None;
                byte
            }
            _ => end,
        }
    }

    /// The answer that sends the client on; `None` where the path is the file's final one.
    fn redirect(&self, path: &str, stored: &Stored) -> Option<String> {
        let path = path.strip_prefix('/')?;
        if path.starts_with("cdn/") || path.starts_with("cache/") {
            return None;
        }
        let etag = format!("\"{}\"", stored.etag);
        let commit = ("x-repo-commit", stored.commit.clone());
        Some(match stored.storage {
            Storage::Git => {
                let location = ("location", format!("/cache/{path}"));
                head(307, &[location, commit, ("etag", etag)], 0)
            }
            Storage::Lfs => {
                let location = ("location", format!("http://{}/cdn/{path}", self.address));
                let size = ("x-linked-size", stored.body.len().to_string());
                head(302, &[location, commit, ("x-linked-etag", etag), size], 0)
            }
        })
    }
}

/// The file a path means, wherever a redirect has put it.
fn resource(path: &str) -> &str {
    let path = path.trim_start_matches('/');
    path.strip_prefix("cdn/")
        .or_else(|| path.strip_prefix("cache/"))
        .unwrap_or(path)
}

/// The head of an answer that holds the bytes from `start` to before `end`.
fn file_head(request: &Request, stored: &Stored, start: usize, end: usize) -> String {
    let mut fields = Vec::new();
    if stored.storage == Storage::Git {
        fields.push(("x-repo-commit", stored.commit.clone()));
        fields.push(("etag", format!("\"{}\"", stored.etag)));
    } else {
        fields.push(("etag", "\"of-the-storage\"".into()));
    }
    if request.range.is_none() {
        return head(200, &fields, end - start);
    }
    let size = stored.body.len();
    fields.push(("content-range", format!("bytes {start}-{}/{size}", end - 1)));
    head(206, &fields, end - start)
}

/// An address at which nobody listens, and at which nobody can start to while this lives: it is the near end of a
/// connection.
pub struct NoHub {
    held: TcpStream,
    _far_end: TcpListener,
}

impl NoHub {
    pub fn new() -> Self {
        without_proxies();
        let far_end = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = far_end.local_addr().expect("an address");
        Self {
            held: TcpStream::connect(address).expect("a connection to ourselves"),
            _far_end: far_end,
        }
    }

    /// Host and port.
    pub fn host(&self) -> String {
        self.held.local_addr().expect("an address").to_string()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }
}

/// The client would ask the proxy of whoever runs the tests for addresses on loopback.
fn without_proxies() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            // SAFETY: the tests of this binary read the environment through std only, which locks it.
            unsafe {
                std::env::remove_var(name);
                std::env::remove_var(name.to_lowercase());
            }
        }
    });
}
