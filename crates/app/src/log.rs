//! Log lines: one per event, `time level event key=value …` on standard error (docs/log-grammar.md).

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let now = postrider_store::clock::Clock::now_ms(&postrider_store::clock::SystemClock::default());
        w.write_str(&postrider_domain::schedule::rfc3339(now))
    }
}

/// What a panic says goes nowhere: its message may hold a contact's data (SEC-74). Its place is enough to find it.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(event = "panic", place);
    }));
}

/// Starts logging at `level`, a filter such as `info` or `warn,postrider_engine=debug`.
pub fn start(level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start (tests in one process) keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Utc)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .try_init();
    quiet_panics();
}
