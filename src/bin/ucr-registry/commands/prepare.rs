//! `ucr-registry prepare`: what a task needs before it can start, for `ucr launch`.
//!
//! `ucr_executor::prepare` says what is asked and answered.

use std::io::{Read as _, stdin};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ucr::command_error::CommandError;
use ucr::commands::run::settle_aside;
use ucr::report::{Failure, Report};
use ucr::settings::{Settings, need_root};
use ucr::source::Told;
use ucr::store::{open_store, store_failed};
use ucr::ui::Ui;
use ucr_executor::prepare;
use ucr_executor::prepare::{
    Answer, Failed, FetchedFile, Image, Pull, PulledImage, Ready, Request,
};
use ucr_images::archive::extract::Owner;
use ucr_images::{Reference, Store, StoredImage};
use ucr_puller::fetch::{Cache, Fetcher, Purpose, Sandbox, Sharing, Teller, Wanted as File};
use ucr_sys::Dir;

use super::pull::{SourceArgs, Wanted};
use crate::fetching::{self, Shown};
use crate::task_credentials::TaskCredentials;

/// The most that a request may have: texts of configurations are in it.
const REQUEST_LIMIT: u64 = 64 * 1024 * 1024;
/// Where the cache is in the store.
const CACHE: &str = "fetched";

/// How to get what is asked for on standard input.
#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    #[command(flatten)]
    source: SourceArgs,
}

/// A failure, and where the document has what failed.
type At<T> = Result<T, (String, CommandError)>;

/// Runs `ucr-registry prepare`.
pub(crate) fn prepare(
    args: &PrepareArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let report = args.source.image().report_of_several()?;
    let preparation = Preparation {
        args: &args.source,
        settings,
        ui,
        report: &report,
    };
    let (answer, result) = match preparation.run() {
        Ok(ready) => (Answer::Ready(ready), Ok(ExitCode::SUCCESS)),
        Err((path, error)) => {
            let answer = Answer::Failed(failed(path, &error));
            (answer, report.told(Err(error)))
        }
    };
    ui.print(&serde_json::to_string(&answer).map_err(CommandError::new)?)?;
    result
}

fn failed(path: String, error: &CommandError) -> Failed {
    let failure = error.failure();
    let details = error.details();
    Failed {
        path,
        code: failure.code.to_owned(),
        phase: failure.phase.to_owned(),
        retryable: failure.retryable,
        message: error.message(),
        details: details
            .map(|(word, text)| format!("{word}: {text}"))
            .collect(),
    }
}

/// Reads the request, which whoever asks ends.
fn read_request() -> Result<Request, CommandError> {
    let mut json = Vec::new();
    stdin().lock().take(REQUEST_LIMIT).read_to_end(&mut json)?;
    serde_json::from_slice(&json).map_err(|error| {
        // Its words may be of the request, which holds secrets.
        let (line, column) = (error.line(), error.column());
        CommandError::sentence(format!(
            "what is asked on standard input cannot be understood at line {line}, column {column}"
        ))
    })
}

struct Preparation<'p> {
    args: &'p SourceArgs,
    settings: &'p Settings,
    ui: &'p Ui,
    report: &'p Report,
}

impl Preparation<'_> {
    fn run(&self) -> At<Ready> {
        let nowhere = |error| (String::new(), error);
        need_root("ucr-registry prepare", "files and layers keep their owners").map_err(nowhere)?;
        let request = read_request().map_err(nowhere)?;
        let store = open_store(self.settings, self.ui).map_err(nowhere)?;
        let files = self.fetch(&request, &store)?;
        let mut images = Vec::with_capacity(request.images.len());
        for image in &request.images {
            let sandbox = self.sandbox_of(image, &request);
            let pulled = sandbox.and_then(|sandbox| {
                let agents = request.docker_config.as_deref();
                self.pull(image, (sandbox, agents), &store)
            });
            images.push(pulled.map_err(|error| (image.path.clone(), error))?);
        }
        // The layers are good for this boot, which is all that this task needs.
        settle_aside(&store);
        Ok(Ready { images, files })
    }

    /// Fetches all files, sandbox by sandbox.
    fn fetch(&self, request: &Request, store: &Store) -> At<Vec<FetchedFile>> {
        let nowhere = |error| (String::new(), error);
        let mut files = Vec::new();
        let mut all = request.sandboxes.iter().flat_map(|sandbox| &sandbox.fetch);
        let Some(first) = all.next() else {
            return Ok(files);
        };
        let wants_cache = first.cache || all.any(|file| file.cache);
        let access = self.args.access();
        let transport = access.transport(store, self.settings, self.ui);
        let (trust, transport) = transport.map_err(nowhere)?;
        let cache = wants_cache.then(|| cache_of(request, store)).transpose();
        let cache = cache.map_err(nowhere)?;
        let shown = Shown::new(access.form(self.ui), *self.ui, self.report);
        let teller = Teller(&shown);
        let budget = access.budget(self.settings);
        let fetcher = Fetcher::new(transport, budget, cache.as_ref(), &teller);
        for asked in &request.sandboxes {
            let mut sandbox = open_sandbox(asked).map_err(nowhere)?;
            for file in &asked.fetch {
                let fetched = fetcher.fetch(&wanted(file), &mut sandbox);
                let fetched = fetched
                    .map_err(|error| (file.path.clone(), fetching::failed(error, &trust, store)))?;
                files.push(FetchedFile {
                    name: fetched.name,
                    size: fetched.size,
                    unpacked: fetched.unpacked,
                    cached: fetched.cached,
                });
            }
        }
        Ok(files)
    }

    /// The sandbox whose files may say as whom an image is asked for.
    fn sandbox_of<'r>(
        &self,
        image: &Image,
        request: &'r Request,
    ) -> Result<Option<&'r Path>, CommandError> {
        let Some(number) = image.sandbox else {
            return Ok(None);
        };
        match request.sandboxes.get(number) {
            Some(sandbox) => Ok(Some(&sandbox.path)),
            None => {
                let text = format!("there is no sandbox {number} in what is asked");
                Err(CommandError::sentence(text))
            }
        }
    }

    /// Has an image in the store that this task may have.
    fn pull(
        &self,
        image: &Image,
        (sandbox, agents): (Option<&Path>, Option<&Path>),
        store: &Store,
    ) -> Result<PulledImage, CommandError> {
        let reference: Reference = image.reference.parse().map_err(CommandError::new)?;
        let platform = self.args.image().platform();
        let own = TaskCredentials::of((image, &reference), sandbox, agents)?;
        let wanted = Wanted {
            reference: &reference,
            platform: &platform,
            credentials: Some(&own),
        };
        let report = self.report.about(reference.to_string())?;
        let pulled = self.ensure(wanted, image.pull, store, (self.ui, &report))?;
        Ok(PulledImage {
            reference: reference.to_string(),
            manifest: pulled.manifest.to_string(),
            id: pulled.id.to_string(),
        })
    }

    /// As `ucr run` has it: out of the store where it may be had from there, else by a pull.
    fn ensure(
        &self,
        wanted: Wanted<'_>,
        pull: Pull,
        store: &Store,
        told: Told<'_>,
    ) -> Result<StoredImage, CommandError> {
        let access = self.args.access();
        let Wanted {
            reference,
            platform,
            ..
        } = wanted;
        if pull != Pull::Always {
            let stored = store.image_to_use(reference, platform);
            if let Some(image) = stored.map_err(store_failed)? {
                access.check((wanted, &image), store, self.settings, self.ui)?;
                return Ok(image);
            }
        }
        if pull == Pull::Never {
            let text = format!("{reference} is not in the store {}", store.path().display());
            return Err(CommandError::sentence(text)
                .told_as(Failure::NOT_CACHED)
                .hint(format!("ucr pull {reference}")));
        }
        let image = access.pull(wanted, store, self.settings, told)?;
        told.1.pulled(&image);
        Ok(image)
    }
}

fn cache_of(request: &Request, store: &Store) -> Result<Cache, CommandError> {
    let named = request.cache.directory.clone();
    let directory: PathBuf = named.unwrap_or_else(|| store.path().join(CACHE));
    Cache::open(directory, request.cache.limit).map_err(CommandError::new)
}

fn open_sandbox(asked: &prepare::Sandbox) -> Result<Sandbox, CommandError> {
    use std::os::fd::AsFd as _;

    let directory = Dir::open(&asked.path).map_err(CommandError::new)?;
    let root: OwnedFd = directory.as_fd().try_clone_to_owned()?;
    let owner = Owner {
        uid: asked.uid,
        gid: asked.gid,
    };
    Ok(Sandbox::new(root, owner, asked.limit))
}

fn wanted(file: &prepare::File) -> File<'_> {
    File {
        uri: &file.uri,
        output: file.output.as_deref(),
        purpose: match (file.executable, file.extract) {
            (true, _) => Purpose::Executable,
            (false, true) => Purpose::Unpacked,
            (false, false) => Purpose::Kept,
        },
        sharing: match file.cache {
            true => Sharing::Cached,
            false => Sharing::Own,
        },
    }
}
