//! `ucr login`: a password, checked with its registry and kept where podman keeps it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use ucr::command_error::CommandError;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_credentials::{AuthFile, Found};
use ucr_credentials::{CredentialSource as _, CredentialSources};
use ucr_images::{AuthScope, Credential, Login};
use ucr_puller::registry::{self, Verdict, Visitor};

use crate::prompt;
use crate::trust::{InsecureArgs, RegistryArgs, Trust, TrustArgs};
use ucr::auth_files;
use ucr::credential::{check_principal, from_standard_input};

/// Where to log in, and as whom.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// File to keep the credential in [default: $REGISTRY_AUTH_FILE, or podman's auth.json]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// User to log in as [default: asked at the terminal]
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input [default: asked at the terminal]
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Print who is logged in there, and change nothing
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    get_login: bool,
    /// Not taken, see [`refuse_password`].
    #[arg(short, long, hide = true, num_args = 0..=1, default_missing_value = "")]
    password: Option<String>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Registry; with a path the credential is for the repositories below it alone
    #[arg(value_name = "HOST[:PORT][/PATH]")]
    scope: AuthScope,
}

/// Runs `ucr login`.
pub(crate) fn login(
    args: &LoginArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    if args.password.is_some() {
        return Err(refuse_password());
    }
    if args.get_login {
        ui.print(&who_is_logged_in(args)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let scope = &args.scope;
    let file = auth_files::to_write(args.authfile.as_deref())?;
    let login = ask(args)?;
    match verify(args, &login, settings, ui)? {
        Verdict::Accepted => {}
        Verdict::NotAsked => ui.say(&format!(
            "ucr: {} asks nobody for a password at /v2/: this one is kept unchecked",
            scope.host
        )),
    }
    file.keep(scope, &login).map_err(CommandError::new)?;
    ui.say(&format!(
        "logged in to {scope} as {}, kept in {}",
        login.principal.escape_debug(),
        file.shown
    ));
    Ok(ExitCode::SUCCESS)
}

fn refuse_password() -> CommandError {
    CommandError::sentence("a password in the arguments can be read by everybody on this machine")
        .hint("--password-stdin, or nothing to be asked at the terminal")
        .code(2)
}

fn ask(args: &LoginArgs) -> Result<Login, CommandError> {
    let no_terminal = |error: CommandError| {
        error.hint("--username NAME --password-stdin, where nobody can be asked")
    };
    let host = &args.scope.host;
    let principal = match &args.username {
        Some(name) => name.clone(),
        None => prompt::line(&format!("User name for {host}: ")).map_err(no_terminal)?,
    };
    check_principal(&principal)?;
    let secret = if args.password_stdin {
        from_standard_input()?
    } else {
        let who = principal.escape_debug();
        prompt::secret(&format!("Password of {who} for {host}: ")).map_err(no_terminal)?
    };
    Ok(Login { principal, secret })
}

/// Shows the registry the password, before anything is written.
fn verify(
    args: &LoginArgs,
    login: &Login,
    settings: &Settings,
    ui: &Ui,
) -> Result<Verdict, CommandError> {
    let trust = Arc::new(args.insecure.load(&args.trust, settings, ui)?);
    let registries = args.registry.registries(settings, ui);
    let found = Found {
        credential: Credential::Login(login.clone()),
        source: "what was just given".to_owned(),
    };
    let sources = CredentialSources::default().given(args.scope.host.clone(), found);
    let visitor = Visitor::new(trust.transport_without_store(), &registries, &sources);
    let verdict = visitor.log_in(&args.scope);
    verdict.map_err(|error| advise(error, &trust))
}

fn advise(error: registry::Error, trust: &Trust) -> CommandError {
    let advice = match error.of_registry() {
        registry::Error::Http(error) => trust.advice(error),
        _ => Default::default(),
    };
    let hint = error.hint();
    CommandError::new(error).advised(advice).hints(hint)
}

fn who_is_logged_in(args: &LoginArgs) -> Result<String, CommandError> {
    let files = auth_files::to_read(args.authfile.as_deref()).into_iter();
    let sources = files.fold(CredentialSources::default(), CredentialSources::file);
    let found = sources.find(&args.scope.host, args.scope.path());
    match found.map_err(CommandError::new)? {
        Some(Found {
            credential: Credential::Login(login),
            ..
        }) => Ok(login.principal),
        Some(found) => Ok(found.credential.to_string()),
        None => Err(not_logged_in(&args.scope)),
    }
}

/// That nobody is logged in there.
pub(super) fn not_logged_in(scope: &AuthScope) -> CommandError {
    CommandError::sentence(format!("nobody is logged in to {scope}"))
}

/// Names the files, besides the one that was changed, that have something for `scope` too.
pub(super) fn others_with(scope: &AuthScope, changed: &AuthFile) -> Vec<String> {
    let others = auth_files::to_read(None).into_iter();
    let others = others.filter(|other| other.path != changed.path);
    let has = |file: &AuthFile| {
        let config = file.read().ok().flatten();
        config.is_some_and(|config| config.scopes().contains(scope))
    };
    others.filter(has).map(|file| file.shown).collect()
}
