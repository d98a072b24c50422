//! `lanyard-server user list|show|add|set|reset-password|reset-second-factor|sign-out`

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;

use super::output::table;
use super::{Place, operator};
use crate::entrance::Entrance;
use crate::index::roles::NetworkRole;
use crate::index::users::{NewUser, User, UserKind, UserName, UserWishes};
use crate::index::{Clock, Index};
use crate::words::ago;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List who can sign in, and services.
    List,
    /// Show a user, their networks, and where they are signed in.
    Show {
        /// Their name or id.
        user: String,
    },
    /// Make a user; prints a link with which they choose their password.
    Add {
        /// What they sign in with: letters, digits and . _ - @ +; an e-mail address will do.
        name: UserName,
        /// What others see.
        #[arg(long, value_name = "TEXT", default_value = "")]
        display_name: String,
        /// Where to write to.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// They may do everything on this server.
        #[arg(long)]
        admin: bool,
        /// A program: it does not sign in.
        #[arg(long, conflicts_with = "admin")]
        service: bool,
    },
    /// Change what is said of a user, and what they may do.
    Set(Set),
    /// Make a link with which a user chooses another password; what they had works until then.
    ResetPassword {
        /// Their name or id.
        user: String,
    },
    /// Take a user's authenticator app and recovery codes away: their phone is lost. Ends every session of theirs.
    ResetSecondFactor {
        /// Their name or id.
        user: String,
        /// Also their passkeys and linked accounts: somebody has found the phone.
        #[arg(long)]
        all: bool,
    },
    /// End every session of a user.
    SignOut {
        /// Their name or id.
        user: String,
    },
}

/// Changes to one user.
#[derive(Debug, clap::Args)]
pub struct Set {
    /// Their name or id.
    user: String,
    /// What others see.
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Where to write to; "" for nowhere.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Whether they may do everything on this server.
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    admin: Option<bool>,
    /// Shut them out: sessions end at once. "no" lets them in again.
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    disabled: Option<bool>,
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("it is yes or no".to_owned()),
    }
}

impl Command {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let config = place.config()?;
        let index = place.index(&config).await?;
        let entrance = Entrance::of(&config);
        let now = Clock::system().now_ms();
        match self {
            Self::List => {
                let users = index.users().await?;
                place.output.print("users", &users, || render(&users, now))
            }
            Self::Show { user } => show(place, &index, &user, now).await,
            Self::Add { name, display_name, email, admin, service } => {
                // Before anything is made: there must be a page that the link leads to.
                if !service {
                    entrance.link("welcome", "")?;
                }
                let kind = if service { UserKind::Service } else { UserKind::Person };
                let new =
                    NewUser { display_name, email, kind, is_server_admin: admin, ..NewUser::person(name) };
                let user = index.add_user(&new, &operator()).await?;
                if service {
                    return place
                        .output
                        .print("user", &user, || format!("{} is a service of this server\n", user.name));
                }
                let link =
                    entrance.link("welcome", &index.new_user_code(&user, &operator()).await?.reveal())?;
                place.output.print("user", &json!({ "user": user, "link": link }), || {
                    format!("{} chooses a password here:\n{link}\n(one use, 3 days)\n", user.name)
                })
            }
            Self::Set(set) => {
                let wishes = UserWishes {
                    display_name: set.display_name,
                    email: set.email,
                    is_server_admin: set.admin,
                    is_disabled: set.disabled,
                };
                let user = index.set_user(&set.user, &wishes, &operator()).await?;
                place.output.print("user", &user, || render(std::slice::from_ref(&user), now))
            }
            Self::ResetPassword { user } => {
                entrance.link("welcome", "")?;
                let user = index.user(&user).await?;
                if user.disabled_at.is_some() {
                    bail!(
                        "{} is shut out: \"lanyard-server user set {} --disabled no\" first",
                        user.name,
                        user.name
                    );
                }
                let link =
                    entrance.link("welcome", &index.new_user_code(&user, &operator()).await?.reveal())?;
                place.output.print("user", &json!({ "user": user, "link": link }), || {
                    format!("{} chooses another password here:\n{link}\n(one use, 3 days)\n", user.name)
                })
            }
            Self::ResetSecondFactor { user, all } => {
                let user = index.user(&user).await?;
                let had_one = if all {
                    index.remove_all_but_password(&user, &operator()).await?
                } else {
                    index.remove_second_factor(&user, &operator()).await?
                };
                let ended = index.end_sessions(&user, None, &operator()).await?;
                place.output.print("reset", &json!({ "had_one": had_one, "ended": ended }), || {
                    let what = if had_one { "has no second factor any more" } else { "had no second factor" };
                    format!("{} {what}; {ended} sessions ended\n", user.name)
                })
            }
            Self::SignOut { user } => {
                let user = index.user(&user).await?;
                let ended = index.end_sessions(&user, None, &operator()).await?;
                place.output.print("ended", &ended, || format!("{}: {ended} sessions ended\n", user.name))
            }
        }
    }
}

async fn show(place: &Place, index: &Index, name: &str, now: i64) -> anyhow::Result<ExitCode> {
    let user = index.user(name).await?;
    let roles = index.roles_of(&user.id).await?;
    let sessions = index.sessions_of(&user).await?;
    let data = json!({ "user": user, "roles": roles, "sessions": sessions });
    place.output.print("user", &data, || {
        let mut text = render(std::slice::from_ref(&user), now);
        if !roles.is_empty() {
            let rows: Vec<Vec<String>> = roles.iter().map(role_row).collect();
            let _ = write!(text, "\n{}", table(&["NETWORK", "ROLE"], &rows));
        }
        if !sessions.is_empty() {
            let rows: Vec<Vec<String>> = sessions
                .iter()
                .map(|session| {
                    let from = session.ip.clone().unwrap_or_else(|| "-".to_owned());
                    let agent = session.user_agent.chars().take(40).collect();
                    vec![ago(session.seen_at, now), from, agent]
                })
                .collect();
            let _ = write!(text, "\n{}", table(&["SEEN", "FROM", "PROGRAM"], &rows));
        }
        text
    })
}

fn role_row(role: &NetworkRole) -> Vec<String> {
    vec![role.network.to_string(), role.role.to_string()]
}

/// The table of users.
pub(super) fn render(users: &[User], now: i64) -> String {
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|user| {
            let state = match (user.disabled_at, user.kind) {
                (Some(_), _) => "shut out",
                (None, UserKind::Service) => "service",
                (None, UserKind::Person) if user.is_server_admin => "admin",
                (None, UserKind::Person) => "-",
            };
            let email = user.email.clone().unwrap_or_else(|| "-".to_owned());
            vec![user.name.to_string(), state.to_owned(), email, ago(user.created_at, now)]
        })
        .collect();
    table(&["NAME", "STATE", "EMAIL", "MADE"], &rows)
}
