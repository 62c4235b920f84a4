//! A body that goes into a file, whatever it is: with its redirects, its repetitions, and gone on
//! with where it broke off.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};

use curl::easy::{Easy2, Handler, HttpVersion, WriteError};
use serde::{Deserialize, Serialize};
use ucr_images::{Secret, pause};
use url::Url;

use super::client::{Client, header_list};
use super::error::Error;
use super::part;
use super::redirect::{Origin, redirect_target};
use super::request::{ByteRange, Identify, Request, ShownUrl};
use super::response::Response;
use super::retry::Failure;

/// Redirects that are followed, as the puller has it.
const MAX_REDIRECTS: u32 = 10;
/// The most of an answer that is no file that is kept.
const ERROR_BODY_LIMIT: usize = 64 * 1024;

/// What is to come, into which file.
pub(crate) struct Download<'d> {
    /// Where it is, without user information.
    pub(crate) url: &'d Url,
    /// The value of `Authorization`, for the origin of `url` and no other.
    pub(crate) authorization: Option<&'d Secret>,
    /// What is known of a copy: if that is still what is there, nothing comes.
    pub(crate) known: Option<&'d Validators>,
    /// The most bytes.
    pub(crate) limit: u64,
    /// Told of the bytes that are there, as they come.
    pub(crate) told: &'d dyn Fn(u64),
}

/// By what a server knows whether a copy is still what it has (RFC 9110, section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Validators {
    /// The `ETag`, weak or not.
    pub(crate) etag: Option<String>,
    /// When it was modified last, in the server's own words.
    pub(crate) last_modified: Option<String>,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Downloaded {
    /// All of it.
    Whole {
        /// How many bytes.
        size: u64,
        /// What is known of it from now on.
        validators: Validators,
    },
    /// Nothing: the copy is still what is there.
    Unchanged,
}

/// Why it did not come.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The request failed.
    Http(Error),
    /// The server answered with something else than a file.
    Status {
        /// Who answered.
        url: ShownUrl,
        /// What.
        status: u16,
    },
    /// It has more bytes than it may.
    TooLarge,
    /// The file did not take it.
    Write(io::Error),
}

impl Validators {
    fn of(response: &Response) -> Self {
        let field = |name| response.header(name).map(str::to_owned);
        Self {
            etag: field("etag"),
            last_modified: field("last-modified"),
        }
    }

    /// Whether there is nothing by which to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// What a part can be asked for by (RFC 9110, section 13.1.5): a weak tag is no promise of bytes.
    fn for_part(&self) -> Option<&str> {
        let tag = self.etag.as_deref().filter(|tag| !tag.starts_with("W/"));
        tag.or(self
            .last_modified
            .as_deref()
            .filter(|_| self.etag.is_none()))
    }
}

/// How far it came.
#[derive(Debug, Default)]
struct Progress {
    got: u64,
    validators: Validators,
}

impl Client<'_> {
    /// Writes what is at a URL into `file`, an empty one.
    ///
    /// A failure that may pass is put up with as the settings say; one after which more has come
    /// than before counts as the first.
    ///
    /// # Errors
    /// What failed at last.
    pub(crate) fn download(
        &self,
        wanted: &Download<'_>,
        file: &File,
    ) -> Result<Downloaded, Failed> {
        let mut progress = Progress::default();
        let mut failures = 0;
        loop {
            let before = progress.got;
            let (failed, failure) = match self.attempt(wanted, file, &mut progress)? {
                Attempted::Done(downloaded) => return Ok(downloaded),
                Attempted::Failed(failed, failure) => (failed, failure),
            };
            let Some(failure) = failure else {
                return Err(failed);
            };
            if progress.validators.for_part().is_none() {
                progress.got = 0;
            }
            if progress.got > before {
                failures = 0;
            }
            match self.after(failure, wanted.url, failures) {
                Ok(Some(wait)) => pause(wait),
                Ok(None) => return Err(failed),
                Err(late) => return Err(Failed::Http(late)),
            }
            failures += 1;
        }
    }

    /// Asks once, and whoever is redirected to.
    fn attempt(
        &self,
        wanted: &Download<'_>,
        file: &File,
        progress: &mut Progress,
    ) -> Result<Attempted, Failed> {
        let mut url = wanted.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let is_part = progress.got > 0;
            let answered = self.ask(&url, wanted, file, progress)?;
            let failure = Failure::of(&answered);
            let response = match answered {
                Ok(response) => response,
                Err(error) => return Ok(Attempted::Failed(Failed::Http(error), failure)),
            };
            match response.status {
                200 => return Ok(Attempted::all_of(progress)),
                206 if is_part => return Ok(Attempted::all_of(progress)),
                304 if wanted.known.is_some() => return Ok(Attempted::Done(Downloaded::Unchanged)),
                _ => {}
            }
            match redirect_target(&response).map_err(Failed::Http)? {
                Some(next) => url = next,
                None => return Ok(Attempted::refused(&response, failure)),
            }
        }
        Err(Failed::Http(Error::TooManyRedirects {
            from: wanted.url.into(),
            limit: MAX_REDIRECTS,
        }))
    }

    /// Asks `url`; what it has goes into the file.
    fn ask(
        &self,
        url: &Url,
        wanted: &Download<'_>,
        file: &File,
        progress: &mut Progress,
    ) -> Result<Result<Response, Error>, Failed> {
        let is_own = Origin::of(url) == Origin::of(wanted.url);
        let range = (progress.got > 0).then_some(ByteRange {
            first: progress.got,
            last: None,
        });
        let request = Request {
            authorization: wanted.authorization.filter(|_| is_own).cloned(),
            range,
            // Whose client certificate it would be is not the task.
            identify: Identify::Never,
            ..Request::get(url.clone())
        };
        let mut easy = Easy2::new(Saver {
            file,
            wanted,
            progress,
            is_part: range.is_some(),
            status: 0,
            headers: Vec::new(),
            body: Vec::new(),
            is_begun: false,
            trouble: None,
        });
        let set = self.configure(&mut easy, &request, HttpVersion::V11);
        let set = set.and_then(|()| set_conditions(&mut easy, &request, wanted.known));
        if let Err(error) = set {
            return Ok(Err(error));
        }
        let result = easy.perform();
        let result = result.map_err(|error| self.explain(&error, &easy, url));
        easy.get_mut().answer(result, url)
    }
}

/// What came of asking once.
enum Attempted {
    Done(Downloaded),
    /// It failed, in a way that may pass if that is told.
    Failed(Failed, Option<Failure>),
}

impl Attempted {
    fn all_of(progress: &mut Progress) -> Self {
        Self::Done(Downloaded::Whole {
            size: progress.got,
            validators: std::mem::take(&mut progress.validators),
        })
    }

    fn refused(response: &Response, failure: Option<Failure>) -> Self {
        let failed = Failed::Status {
            url: ShownUrl::from(&response.url),
            status: response.status,
        };
        Self::Failed(failed, failure)
    }
}

/// Asks for a part of what began to come, or for what is no longer as it was.
fn set_conditions(
    easy: &mut Easy2<Saver<'_>>,
    request: &Request,
    known: Option<&Validators>,
) -> Result<(), Error> {
    let mut headers = header_list(request).map_err(Error::Setup)?;
    let mut add = |name: &str, value: Option<&str>| match value {
        Some(value) => headers.append(&format!("{name}: {value}")),
        None => Ok(()),
    };
    let added = if request.range.is_some() {
        add("If-Range", easy.get_ref().progress.validators.for_part())
    } else {
        let known = known.cloned().unwrap_or_default();
        add("If-None-Match", known.etag.as_deref())
            .and_then(|()| add("If-Modified-Since", known.last_modified.as_deref()))
    };
    added
        .and_then(|()| easy.http_headers(headers))
        .map_err(Error::Setup)
}

/// What libcurl hands an answer to, which writes what is wanted of it into a file.
struct Saver<'s> {
    file: &'s File,
    wanted: &'s Download<'s>,
    progress: &'s mut Progress,
    /// Whether only what is missing was asked for.
    is_part: bool,
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_begun: bool,
    /// Why the rest is not taken.
    trouble: Option<Trouble>,
}

enum Trouble {
    TooLarge,
    Write(io::Error),
    /// Another part than was asked for.
    WrongPart,
    /// Enough of a refusal came.
    Enough,
}

impl Saver<'_> {
    /// Makes an answer of what came, or an error of how it ended.
    fn answer(
        &mut self,
        result: Result<(), Error>,
        url: &Url,
    ) -> Result<Result<Response, Error>, Failed> {
        match self.trouble.take() {
            Some(Trouble::TooLarge) => return Err(Failed::TooLarge),
            Some(Trouble::Write(error)) => return Err(Failed::Write(error)),
            Some(Trouble::WrongPart) => {
                // From the beginning, then.
                *self.progress = Progress::default();
                return Ok(Err(Error::Broken {
                    url: url.into(),
                    detail: "another part came than was asked for".to_owned(),
                }));
            }
            Some(Trouble::Enough) => {}
            None => {
                if let Err(error) = result {
                    return Ok(Err(error));
                }
            }
        }
        // An empty body is written by nobody.
        if self.status == 200 && !self.is_begun && self.begin().is_err() {
            return Ok(Err(Error::Abandoned));
        }
        Ok(Ok(self.response(url)))
    }

    fn response(&mut self, url: &Url) -> Response {
        Response {
            url: url.clone(),
            status: self.status,
            headers: std::mem::take(&mut self.headers),
            body: std::mem::take(&mut self.body),
            counted: 0,
        }
    }

    /// Prepares the file for what comes: all of it, or the part that was asked for.
    fn begin(&mut self) -> Result<(), Trouble> {
        self.is_begun = true;
        let head = Response {
            url: self.wanted.url.clone(),
            status: self.status,
            headers: self.headers.clone(),
            body: Vec::new(),
            counted: 0,
        };
        if self.status == 206 {
            let first = head.header("content-range").and_then(part::first_byte);
            if first != Some(self.progress.got) {
                return Err(Trouble::WrongPart);
            }
        } else {
            self.progress.got = 0;
            self.progress.validators = Validators::of(&head);
            self.file.set_len(0).map_err(Trouble::Write)?;
        }
        let mut file = self.file;
        let placed = file.seek(SeekFrom::Start(self.progress.got));
        placed.map(drop).map_err(Trouble::Write)
    }

    fn save(&mut self, data: &[u8]) -> Result<(), Trouble> {
        if !self.is_begun {
            self.begin()?;
        }
        let got = self.progress.got + data.len() as u64;
        if got > self.wanted.limit {
            return Err(Trouble::TooLarge);
        }
        let mut file = self.file;
        file.write_all(data).map_err(Trouble::Write)?;
        self.progress.got = got;
        (self.wanted.told)(got);
        Ok(())
    }
}

impl Handler for Saver<'_> {
    fn header(&mut self, line: &[u8]) -> bool {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.starts_with("HTTP/") {
            self.headers.clear();
            let code = line.split(' ').nth(1);
            self.status = code.and_then(|code| code.parse().ok()).unwrap_or(0);
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().to_ascii_lowercase();
            self.headers.push((name, value.trim().to_owned()));
        }
        true
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let is_wanted = self.status == 200 || (self.status == 206 && self.is_part);
        let saved = if is_wanted {
            self.save(data)
        } else if self.body.len() + data.len() > ERROR_BODY_LIMIT {
            Err(Trouble::Enough)
        } else {
            self.body.extend_from_slice(data);
            Ok(())
        };
        Ok(match saved {
            Ok(()) => data.len(),
            Err(trouble) => {
                self.trouble = Some(trouble);
                0
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_asked_for_by_what_promises_the_same_bytes() {
        let validators = |etag: Option<&str>, last_modified: Option<&str>| Validators {
            etag: etag.map(str::to_owned),
            last_modified: last_modified.map(str::to_owned),
        };
        assert_eq!(
            validators(Some("\"a\""), Some("d")).for_part(),
            Some("\"a\"")
        );
        assert_eq!(validators(None, Some("d")).for_part(), Some("d"));
        assert_eq!(validators(Some("W/\"a\""), Some("d")).for_part(), None);
        assert_eq!(validators(None, None).for_part(), None);
        assert!(validators(None, None).is_empty());
    }
}
