//! Who acts: the value that every change of the book takes and the audit writes down.
//!
//! Must not know SQL.

use postrider_domain::consent::ConsentActor;
use postrider_domain::id::{AccountId, ApiKeyId};

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A logged-in person.
    Account(AccountId),
    /// A program with an API key.
    Key(ApiKeyId),
    /// The command line on the machine itself.
    Console,
    /// Postrider by itself.
    Engine,
    /// The contact: a link, a form, a reply.
    Person,
}

postrider_domain::words! {
    /// The kind of an actor, as stored.
    pub enum ActorKind {
        /// See [`Actor::Account`].
        Account = "account",
        /// See [`Actor::Key`].
        Key = "key",
        /// See [`Actor::Console`].
        Console = "console",
        /// See [`Actor::Engine`].
        Engine = "engine",
        /// See [`Actor::Person`].
        Person = "person",
    }
}

impl Actor {
    /// The kind.
    pub const fn kind(self) -> ActorKind {
        match self {
            Actor::Account(_) => ActorKind::Account,
            Actor::Key(_) => ActorKind::Key,
            Actor::Console => ActorKind::Console,
            Actor::Engine => ActorKind::Engine,
            Actor::Person => ActorKind::Person,
        }
    }

    /// The id as text; empty where there is none.
    pub fn id(self) -> String {
        match self {
            Actor::Account(id) => id.to_string(),
            Actor::Key(id) => id.to_string(),
            Actor::Console | Actor::Engine | Actor::Person => String::new(),
        }
    }

    /// How the consent ledger names the actor.
    pub const fn in_ledger(self) -> ConsentActor {
        match self {
            Actor::Account(_) | Actor::Console => ConsentActor::Operator,
            Actor::Key(_) => ConsentActor::ApiKey,
            Actor::Engine => ConsentActor::Import,
            Actor::Person => ConsentActor::Person,
        }
    }
}
