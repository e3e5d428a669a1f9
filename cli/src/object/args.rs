//! What can be typed after `ganger object`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use ganger_shared::{Durability, Name};

use crate::args::Consent;
use crate::values::{self, NewName};

#[derive(Debug, Subcommand)]
pub(crate) enum ObjectVerb {
    /// List the objects, lists among them.
    #[command(after_help = "Examples:\n  ganger object ls\n  ganger object ls --type dict -o json")]
    Ls {
        /// Of this type only.
        #[arg(long = "type", value_name = "TYPE", value_parser = values::typeid)]
        typeid: Option<Name>,
    },
    /// List the types of objects, or the methods of one; needs no broker.
    #[command(after_help = "Examples:\n  ganger object types\n  ganger object types dict/1")]
    Types {
        /// The type.
        #[arg(value_name = "TYPE", value_parser = values::typeid)]
        typeid: Option<Name>,
    },
    /// Make an object, unless it is there.
    #[command(
        after_help = "Examples:\n  ganger object create board --type dict\n  ganger object create visits --type counter 100\n  ganger object create samples --type array f64 1000 --durability relaxed\n  ganger object create - --type dict"
    )]
    Create(CreateArgs),
    /// Print what is in an object, or one value of it.
    #[command(
        after_help = "A whole object of many items is read in parts, while others may change it.\n\nExamples:\n  ganger object get visits\n  ganger object get board ann\n  ganger object get hosts -1"
    )]
    Get {
        /// The object.
        name: Name,
        /// The key of a dict, the name in a namespace, the index in a list or an array.
        #[arg(allow_negative_numbers = true)]
        key: Option<String>,
    },
    /// Put a value into an object.
    #[command(
        after_help = "Examples:\n  ganger object set board ann '{\"score\": 7}' --type dict\n  ganger object set board ann @ann.json --ttl 1h\n  ganger object set board ann 8 --if-revision 4\n  ganger object set greeting hello"
    )]
    Set(SetArgs),
    /// Add values to a list or a set.
    #[command(
        after_help = "Examples:\n  ganger object push hosts alpha beta --type list\n  date | ganger object push log -"
    )]
    Push {
        /// The list or set.
        name: Name,
        /// The values: JSON, or else text; `@FILE` reads a file, `-` standard input.
        #[arg(required = true, value_name = "VALUE", allow_negative_numbers = true)]
        values: Vec<String>,
        #[command(flatten)]
        first: FirstUse,
    },
    /// Take a value out of a list, a set or a dict.
    #[command(
        after_help = "Of a list the last value unless an index is given, of a set the earliest, of a dict the latest.\n\nExamples:\n  ganger object pop hosts\n  ganger object pop hosts 0\n  ganger object pop board ann"
    )]
    Pop {
        /// The list, set or dict.
        name: Name,
        /// The index in a list, the key of a dict.
        #[arg(value_name = "INDEX", allow_negative_numbers = true)]
        key: Option<String>,
    },
    /// Add to a counter, or to a number in a dict, and print the sum.
    #[command(
        after_help = "Examples:\n  ganger object incr visits --type counter\n  ganger object incr board ann --by -2"
    )]
    Incr {
        /// The counter or dict.
        name: Name,
        /// The key of a dict.
        #[arg(allow_negative_numbers = true)]
        key: Option<String>,
        /// How much.
        #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
        by: i64,
        #[command(flatten)]
        first: FirstUse,
    },
    /// Call a method and print its answer.
    #[command(
        after_help = "What a call acquires is released when the command ends: for locks there is `ganger lock`.\n\nExamples:\n  ganger object call visits add 1 --type counter\n  ganger object call board keys\n  ganger object call ready wait --wait 30s && echo go"
    )]
    Call {
        /// The object.
        name: Name,
        /// The method; `ganger object types TYPE` lists them.
        method: String,
        /// Its arguments: JSON, or else text; `@FILE` reads a file, `-` standard input.
        #[arg(value_name = "ARG", allow_negative_numbers = true)]
        args: Vec<String>,
        #[command(flatten)]
        first: FirstUse,
        /// How long it may wait for others; exit code 124 where that was too short.
        #[arg(long, value_name = "DURATION", value_parser = values::duration)]
        wait: Option<Duration>,
    },
    /// Print the changes of a counter, value, dict or list as they happen, until interrupted.
    #[command(
        after_help = "Each line begins with the revision that the change led to; changes of one revision happened together.\n\nExamples:\n  ganger object watch visits\n  ganger object watch board --from 41 -o ndjson"
    )]
    Watch {
        /// The counter, value, dict or list.
        name: Name,
        /// Begin with the changes after this revision, which `ganger object ls` shows; the latest 256 or so are remembered.
        #[arg(long, value_name = "REVISION")]
        from: Option<u64>,
    },
    /// Show who holds an object and who waits for it.
    #[command(after_help = "Example:\n  ganger object holders deploy")]
    Holders {
        /// The object.
        name: Name,
    },
    /// Write objects as lines of JSON, for `ganger object import`.
    #[command(
        after_help = "Who holds something is not written. Each object is read in parts, while others may change it.\n\nExamples:\n  ganger object export > objects.ndjson\n  ganger object export board hosts > some.ndjson"
    )]
    Export {
        /// These; all unless named.
        #[arg(value_name = "NAME")]
        names: Vec<Name>,
    },
    /// Make objects of what `ganger object export` has written.
    #[command(
        after_help = "Examples:\n  ganger object import objects.ndjson\n  ganger object export --broker old:7117 | ganger object import - --broker new:7117"
    )]
    Import {
        /// The file; `-` reads standard input.
        file: PathBuf,
        /// Put them in the place of objects of the same name.
        #[arg(long)]
        replace: bool,
    },
    /// Remove objects; calls that wait for them fail.
    #[command(after_help = "Example:\n  ganger object rm board visits --yes")]
    Rm {
        /// The objects.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<Name>,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Of which type an object is that the command is to make where there is none.
#[derive(Debug, Args)]
pub(crate) struct FirstUse {
    /// Make it of this type if there is none: dict/1, or dict for short.
    #[arg(long = "type", value_name = "TYPE", value_parser = values::typeid)]
    pub(crate) typeid: Option<Name>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The object; `-` for one without a name of its own, which ends when nothing refers to it and nobody
    /// uses it: its name is printed.
    #[arg(value_parser = values::new_name)]
    pub(crate) name: NewName,

    /// Its type: dict/1, or dict for short; `ganger object types` lists them.
    #[arg(long = "type", value_name = "TYPE", value_parser = values::typeid)]
    pub(crate) typeid: Name,

    /// What it is made with: JSON, or else text; `@FILE` reads a file, `-` standard input.
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    pub(crate) args: Vec<String>,

    /// What an acknowledgement means [default: what the broker's new queues promise]
    #[arg(long, value_name = "LEVEL", value_parser = values::durability())]
    pub(crate) durability: Option<Durability>,
}

#[derive(Debug, Args)]
#[command(override_usage = "ganger object set [OPTIONS] <NAME> [KEY] <VALUE>")]
pub(crate) struct SetArgs {
    /// The object.
    pub(crate) name: Name,

    /// The value: JSON, or else text; `@FILE` reads a file, `-` standard input. Before it may be the key
    /// of a dict, the name in a namespace, or the index in a list or an array.
    #[arg(
        required = true,
        num_args = 1..=2,
        value_name = "VALUE",
        allow_negative_numbers = true
    )]
    pub(crate) words: Vec<String>,

    /// Only if nobody has changed it since this revision; 0 for a key that is not there.
    #[arg(long, value_name = "N", conflicts_with = "ttl")]
    pub(crate) if_revision: Option<u64>,

    /// Forget the key of a dict after this time.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) ttl: Option<Duration>,

    #[command(flatten)]
    pub(crate) first: FirstUse,
}
