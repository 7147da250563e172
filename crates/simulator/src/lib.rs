//! Providers that cannot be reached here: exact wire formats, faults, prices.
//!
//! One listener plays them all, each below a path prefix of its own (`/openai/v1`,
//! `/anthropic`, `/gigachat/api/v1`, ...). What an answer is like is decided by, later ones
//! winning: defaults, the [`Profile`], and directives in the last user text.
//!
//! # Directives
//!
//! `[[sim: key=value; key; ...]]`, anywhere in the last user message:
//!
//! | key | effect |
//! | --- | --- |
//! | `echo` | answers with the user's text, directives taken out |
//! | `text=...` | answers with this text (`\;`, `\]`, `\n`, or a JSON string in quotes) |
//! | `lang=ru\|en` | language of canned texts |
//! | `tool=NAME{...}` | calls the tool; repeat for parallel calls; without `{...}` arguments are generated from the tool's schema |
//! | `tools=N` | N parallel calls of the offered tools, arguments generated |
//! | `json`, `badjson` | a JSON answer; broken JSON in text or in arguments |
//! | `reasoning=...` | reasoning before the answer |
//! | `refusal=...` | a refusal, where the provider has such |
//! | `chunks=N`, `chunk_tokens=M` | how a stream is cut; together without a text: N chunks of M tokens |
//! | `cached_tokens=N` | prompt tokens reported as served from a cache |
//! | `first_token_ms=N`, `between_ms=N`, `jitter=S` | delays; S is the sigma of a log-normal factor |
//! | `finish=...` | `stop`, `length`, `tool_calls`, `content_filter` or the provider's own word |
//! | `status=N`, `retry_after=S`, `message=...` | an HTTP error in the provider's shape |
//! | `hang`, `reset`, `empty`, `garbage` | no answer; TCP RST; 200 without body; 200 that is no JSON |
//! | `reset_after=N`, `cut_after=N`, `garbage_after=N`, `error_in_stream_after=N` | RST, FIN, a malformed event, the provider's error event after N content events |
//! | `ok_with_error_body` | 200 with an error in the provider's shape |
//! | `expired_token` | 401 once; the access token is revoked |
//! | `split_utf8`, `split_escapes`, `slow_loris=MS` | segments inside code points; inside `\uXXXX`; single bytes |
//! | `x.NAME=...` | switches of single providers |
//!
//! Without a directive: a user text about weather (погода) calls the first tool offered, a tool
//! result at the end is quoted, a requested schema is satisfied, and everything else gets a fixed
//! text in the prompt's language.
//!
//! # Control
//!
//! `GET /_sim/bill`, `GET /_sim/requests?last=N`, `POST /_sim/reset`, `PUT /_sim/profile`,
//! `POST /_sim/clock?advance_s=N`, `GET /_sim/healthz`, `GET /_sim/ca.pem`.

mod access_tokens;
mod answer;
mod bill;
mod control;
mod directive;
mod draw;
mod exchange;
mod json_text;
mod options;
mod plan;
mod prices;
mod profile;
mod prompt;
mod providers;
mod reply;
mod request_log;
mod schema;
mod script;
mod segments;
mod server;
mod simulator;
mod text;
mod tls;
mod transport;
mod world;

pub use bill::{Accounts, KeyBill, Totals};
pub use options::{Options, SimulateArgs};
pub use profile::{Profile, ProfileError};
pub use providers::yandex::SERVICE_ACCOUNT_KEY as YANDEX_SERVICE_ACCOUNT_KEY;
pub use request_log::{Outcome, ReceivedRequest};
pub use simulator::{Simulator, StartError, run};
pub use tls::TlsError;
