//! The state machine of a leaf endpoint as pure functions of (state, event, time)
//! (spec 02 §7). Times are milliseconds.

/// What a leaf's artifact says about failures (spec 02 §3).
#[derive(Clone, Debug, PartialEq)]
pub struct FailureConfig {
    /// `markForSuspension/errorCodes`; empty means the default codes.
    pub mark_codes: Vec<i64>,
    /// `retriesBeforeSuspension`.
    pub retries: i64,
    /// `retryDelay`, ms.
    pub retry_delay: i64,
    /// `suspendOnFailure/errorCodes`; empty means every error.
    pub suspend_codes: Vec<i64>,
    /// `initialDuration`, ms; negative means 30 s.
    pub initial: i64,
    /// `progressionFactor`.
    pub factor: f32,
    /// `maximumDuration`, ms.
    pub maximum: i64,
    /// `retryConfig/disabledErrorCodes`.
    pub retry_disabled: Vec<i64>,
    /// `retryConfig/enabledErrorCodes`.
    pub retry_enabled: Vec<i64>,
}

impl Default for FailureConfig {
    fn default() -> FailureConfig {
        FailureConfig {
            mark_codes: Vec::new(),
            retries: 0,
            retry_delay: 0,
            suspend_codes: Vec::new(),
            initial: -1,
            factor: 1.0,
            maximum: i64::MAX,
            retry_disabled: Vec::new(),
            retry_enabled: Vec::new(),
        }
    }
}

impl FailureConfig {
    /// Whether another child may be tried after this code (spec 02 §9.2).
    pub fn retryable(&self, code: u32) -> bool {
        let code = i64::from(code);
        if self.retry_disabled.contains(&code) {
            return false;
        }
        self.retry_enabled.is_empty() || self.retry_enabled.contains(&code)
    }
}

/// Server-wide caps on failures in a row (spec 02 §7.6); `None` is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// For leaves without a group parent.
    pub retries: Option<u32>,
    /// Suspension that the cap forces, ms.
    pub suspend: i64,
    /// For leaves inside a load-balance or failover group.
    pub recursive_retries: Option<u32>,
    /// Suspension that the recursive cap forces, ms.
    pub recursive_suspend: i64,
}

/// Where the leaf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Ready.
    Active,
    /// Marked for suspension; tolerates a number of failures.
    Timeout,
    /// Out of use until the next retry time.
    Suspended,
    /// Switched off by hand.
    Off,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 4] = [Phase::Active, Phase::Timeout, Phase::Suspended, Phase::Off];

    /// The word in error messages (spec 02 §7.4, spelling of the reference).
    pub fn word(self) -> &'static str {
        match self {
            Phase::Active => "ACTIVE",
            Phase::Timeout => "TIMEOUT",
            Phase::Suspended => "SUSPENDED",
            Phase::Off => "MAINTNENCE",
        }
    }
}

/// The state of one leaf.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Where it is.
    pub phase: Phase,
    /// When it may be tried again, ms.
    pub next_retry: u64,
    remaining: Option<i64>,
    last_suspend: i64,
    capped: u32,
    capped_recursive: u32,
}

impl Default for State {
    fn default() -> State {
        State {
            phase: Phase::Active,
            next_retry: 0,
            remaining: None,
            last_suspend: -1,
            capped: 0,
            capped_recursive: 0,
        }
    }
}

/// What one event did; the log line and metric of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Marked TIMEOUT.
    Timeout {
        /// Failures that are still tolerated.
        remaining: i64,
    },
    /// Suspended.
    Suspended {
        /// For how long, ms.
        duration: i64,
        /// The one before, ms, when there was one.
        last: Option<i64>,
        /// It was marked and used up its retries.
        no_retries_left: bool,
    },
    /// Back to active; what it was before.
    Active {
        /// The state before.
        from: Phase,
    },
}

fn is_timeout(config: &FailureConfig, code: u32) -> bool {
    if config.mark_codes.is_empty() {
        matches!(code, 101_504 | 101_505)
    } else {
        config.mark_codes.contains(&i64::from(code))
    }
}

fn is_suspend(config: &FailureConfig, code: u32) -> bool {
    config.suspend_codes.is_empty() || config.suspend_codes.contains(&i64::from(code))
}

impl State {
    /// Whether a message may be sent at `now` (spec 02 §7.4).
    pub fn is_ready(&self, now: u64) -> bool {
        match self.phase {
            Phase::Active => true,
            Phase::Off => false,
            Phase::Timeout | Phase::Suspended => now >= self.next_retry,
        }
    }

    /// A send failed with `code` (spec 02 §7.2–§7.6). One failure is one transition.
    pub fn on_failure(
        &mut self,
        config: &FailureConfig,
        caps: &Caps,
        in_group: bool,
        code: u32,
        now: u64,
    ) -> Change {
        // Who switched it off wants it off, whatever is still under way (differences.md).
        if self.phase == Phase::Off {
            return Change::None;
        }
        if let Some(forced) = self.cap(caps, in_group) {
            let last = (self.last_suspend > 0).then_some(self.last_suspend);
            self.suspend(forced, now);
            return Change::Suspended {
                duration: forced,
                last,
                no_retries_left: false,
            };
        }
        if is_timeout(config, code) {
            let remaining = self.remaining.unwrap_or(config.retries);
            if remaining > 0 {
                self.phase = Phase::Timeout;
                self.remaining = Some(remaining - 1);
                self.next_retry = now.saturating_add(ms(config.retry_delay));
                return Change::Timeout {
                    remaining: remaining - 1,
                };
            }
            return self.progress(config, now, config.retries > 0);
        }
        if is_suspend(config, code) {
            return self.progress(config, now, false);
        }
        Change::None
    }

    fn cap(&mut self, caps: &Caps, in_group: bool) -> Option<i64> {
        if in_group {
            let limit = caps.recursive_retries?;
            if self.capped_recursive < limit {
                self.capped_recursive += 1;
                return None;
            }
            self.capped_recursive = 0;
            return Some(caps.recursive_suspend);
        }
        let limit = caps.retries?;
        if self.capped < limit {
            self.capped += 1;
            return None;
        }
        Some(caps.suspend)
    }

    fn progress(&mut self, config: &FailureConfig, now: u64, no_retries_left: bool) -> Change {
        let last = (self.last_suspend > 0).then_some(self.last_suspend);
        // The reference computes in 32-bit floats and truncates.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        let mut duration = match last {
            Some(last) => (last as f32 * config.factor) as i64,
            None => config.initial,
        };
        // The order matters: maximum first, then the default for negative values.
        if duration > config.maximum {
            duration = config.maximum;
        } else if duration < 0 {
            duration = 30_000;
        }
        self.suspend(duration, now);
        Change::Suspended {
            duration,
            last,
            no_retries_left,
        }
    }

    fn suspend(&mut self, duration: i64, now: u64) {
        self.phase = Phase::Suspended;
        self.last_suspend = duration;
        self.next_retry = now.saturating_add(ms(duration));
    }

    /// A response came, whatever its status (spec 02 §7.3).
    pub fn on_success(&mut self) -> Change {
        match self.phase {
            Phase::Timeout | Phase::Suspended => {
                let from = self.phase;
                self.phase = Phase::Active;
                // Back to "not initialised", which counts from retriesBeforeSuspension again.
                self.remaining = None;
                self.last_suspend = -1;
                self.capped = 0;
                Change::Active { from }
            }
            Phase::Active | Phase::Off => Change::None,
        }
    }

    /// Switched off or on by hand (spec 02 §7.8).
    pub fn switch(&mut self, on: bool) {
        *self = State {
            phase: if on { Phase::Active } else { Phase::Off },
            ..State::default()
        };
    }
}

fn ms(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn suspensions(config: &FailureConfig, code: u32, times: usize) -> Vec<i64> {
        let mut state = State::default();
        let mut now = 0;
        let mut out = Vec::new();
        for _ in 0..times {
            assert!(state.is_ready(now));
            match state.on_failure(config, &Caps::default(), false, code, now) {
                Change::Suspended { duration, .. } => out.push(duration),
                other => panic!("{other:?}"),
            }
            now = state.next_retry;
        }
        out
    }

    #[test]
    fn suspension_progresses_as_the_reference_computes_it() {
        // Rows of spec 02 §7.5: initial, factor, maximum, durations.
        let rows: &[(i64, f32, i64, &[i64])] = &[
            (1000, 2.0, 6000, &[1000, 2000, 4000, 6000, 6000]),
            (5000, 1.0, 2000, &[2000, 2000]),
            (0, 2.0, i64::MAX, &[0, 0, 0]),
            (-1, 1.0, i64::MAX, &[30_000, 30_000]),
            (1000, -2.0, i64::MAX, &[1000, 30_000, 30_000]),
            (3, 0.5, i64::MAX, &[3, 1, 0, 3]),
        ];
        for (initial, factor, maximum, expected) in rows {
            let config = FailureConfig {
                initial: *initial,
                factor: *factor,
                maximum: *maximum,
                ..FailureConfig::default()
            };
            assert_eq!(&suspensions(&config, 101_503, expected.len()), expected);
        }
    }

    #[test]
    fn parallel_failures_multiply_the_suspension() {
        // Scenario 22.
        let config = FailureConfig {
            initial: 1000,
            factor: 2.0,
            ..FailureConfig::default()
        };
        let mut state = State::default();
        for _ in 0..3 {
            state.on_failure(&config, &Caps::default(), false, 101_503, 0);
        }
        assert_eq!(state.next_retry, 4000);
    }

    #[test]
    fn marked_codes_tolerate_retries_and_success_resets_them() {
        // Scenarios 9, 10 and 12.
        let config = FailureConfig {
            mark_codes: vec![101_503],
            retries: 3,
            suspend_codes: vec![101_503],
            ..FailureConfig::default()
        };
        let mut state = State::default();
        let fail =
            |state: &mut State| state.on_failure(&config, &Caps::default(), false, 101_503, 0);
        assert_eq!(fail(&mut state), Change::Timeout { remaining: 2 });
        assert_eq!(fail(&mut state), Change::Timeout { remaining: 1 });
        assert_eq!(
            state.on_success(),
            Change::Active {
                from: Phase::Timeout
            }
        );
        for remaining in [2, 1, 0] {
            assert_eq!(fail(&mut state), Change::Timeout { remaining });
            assert!(state.is_ready(0));
        }
        assert!(matches!(
            fail(&mut state),
            Change::Suspended {
                no_retries_left: true,
                ..
            }
        ));
        assert!(!state.is_ready(0));
    }

    #[test]
    fn retry_delay_blocks_and_unlisted_codes_do_nothing() {
        let config = FailureConfig {
            mark_codes: vec![101_503],
            retries: 3,
            retry_delay: 2000,
            suspend_codes: vec![-1],
            ..FailureConfig::default()
        };
        let mut state = State::default();
        state.on_failure(&config, &Caps::default(), false, 101_503, 0);
        assert!(!state.is_ready(500));
        assert!(state.is_ready(2000));
        let before = state.clone();
        assert_eq!(
            state.on_failure(&config, &Caps::default(), false, 101_508, 0),
            Change::None
        );
        assert_eq!(state, before);
    }

    #[test]
    fn caps_force_suspension() {
        // Scenario 27.
        let config = FailureConfig {
            mark_codes: vec![-1],
            suspend_codes: vec![-1],
            ..FailureConfig::default()
        };
        let caps = Caps {
            retries: Some(2),
            suspend: 30_000,
            ..Caps::default()
        };
        let mut state = State::default();
        assert_eq!(
            state.on_failure(&config, &caps, false, 101_503, 0),
            Change::None
        );
        assert_eq!(
            state.on_failure(&config, &caps, false, 101_503, 0),
            Change::None
        );
        assert!(matches!(
            state.on_failure(&config, &caps, false, 101_503, 0),
            Change::Suspended {
                duration: 30_000,
                ..
            }
        ));
    }

    #[test]
    fn off_is_not_ready_and_on_is_fresh() {
        let mut state = State::default();
        state.switch(false);
        assert!(!state.is_ready(u64::MAX));
        assert_eq!(state.on_success(), Change::None);
        // What was under way when it was switched off does not bring it back.
        let config = FailureConfig::default();
        let change = state.on_failure(&config, &Caps::default(), false, 101_503, 0);
        assert_eq!(change, Change::None);
        assert!(!state.is_ready(u64::MAX));
        state.switch(true);
        assert!(state.is_ready(0));
    }

    /// The state machine as spec 02 §7 tells it, step by step and without any regard for elegance.
    struct Model {
        state: &'static str,
        remaining: i64,
        next_retry: i64,
        last_suspend: i64,
        single: i64,
        nested: i64,
        /// What the last event did, in words.
        did: String,
    }

    impl Model {
        fn new() -> Model {
            Model {
                state: "ACTIVE",
                remaining: -1,
                next_retry: -1,
                last_suspend: -1,
                single: 0,
                nested: 0,
                did: String::new(),
            }
        }

        fn ready(&self, now: i64) -> bool {
            match self.state {
                "ACTIVE" => true,
                "MAINTNENCE" => false,
                _ => now >= self.next_retry,
            }
        }

        fn suspend_for(&mut self, duration: i64, now: i64) {
            let last = self.last_suspend.max(0);
            self.did = format!("suspended for {duration} after {last}");
            self.state = "SUSPENDED";
            self.next_retry = now + duration;
            self.last_suspend = duration;
        }

        fn suspend(&mut self, config: &FailureConfig, now: i64) {
            let mut duration = config.initial;
            if self.last_suspend > 0 {
                duration = (self.last_suspend as f32 * config.factor) as i64;
            }
            if duration > config.maximum {
                duration = config.maximum;
            } else if duration < 0 {
                duration = 30_000;
            }
            self.suspend_for(duration, now);
        }

        fn fail(&mut self, config: &FailureConfig, caps: &Caps, group: bool, code: i64, now: i64) {
            // Not so in the reference (differences.md).
            if self.state == "MAINTNENCE" {
                return;
            }
            if group {
                if let Some(limit) = caps.recursive_retries {
                    if self.nested == i64::from(limit) {
                        self.nested = 0;
                        return self.suspend_for(caps.recursive_suspend, now);
                    }
                    self.nested += 1;
                }
            } else if let Some(limit) = caps.retries {
                if self.single == i64::from(limit) {
                    return self.suspend_for(caps.suspend, now);
                }
                self.single += 1;
            }
            let marked = if config.mark_codes.is_empty() {
                code == 101_504 || code == 101_505
            } else {
                config.mark_codes.contains(&code)
            };
            if marked {
                let left = if self.remaining == -1 {
                    config.retries
                } else {
                    self.remaining
                };
                if left <= 0 {
                    self.suspend(config, now);
                    if config.retries > 0 {
                        self.did += ", no retries left";
                    }
                } else {
                    self.did = format!("marked, {} left", left - 1);
                    self.state = "TIMEOUT";
                    self.remaining = left - 1;
                    self.next_retry = now + config.retry_delay;
                }
            } else if config.suspend_codes.is_empty() || config.suspend_codes.contains(&code) {
                self.suspend(config, now);
            }
        }

        fn succeed(&mut self, config: &FailureConfig) {
            if self.state == "TIMEOUT" || self.state == "SUSPENDED" {
                self.did = format!("active after {}", self.state);
                self.state = "ACTIVE";
                self.remaining = config.retries;
                self.last_suspend = -1;
                self.single = 0;
            }
        }
    }

    /// A change in the words of the model.
    fn words(change: &Change) -> String {
        match change {
            Change::None => String::new(),
            Change::Timeout { remaining } => format!("marked, {remaining} left"),
            Change::Suspended {
                duration,
                last,
                no_retries_left,
            } => {
                let last = last.unwrap_or(0);
                let retries = if *no_retries_left {
                    ", no retries left"
                } else {
                    ""
                };
                format!("suspended for {duration} after {last}{retries}")
            }
            Change::Active { from } => format!("active after {}", from.word()),
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Fail { code: i64, group: bool },
        Succeed,
        Wait(u64),
        Switch(bool),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            5 => (prop::sample::select(vec![101_500_i64, 101_503, 101_504, 101_505, 101_508]), any::<bool>())
                .prop_map(|(code, group)| Event::Fail { code, group }),
            2 => Just(Event::Succeed),
            3 => prop_oneof![0_u64..50, 0_u64..5000, 0_u64..100_000].prop_map(Event::Wait),
            1 => any::<bool>().prop_map(Event::Switch),
        ]
    }

    fn codes() -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(
            prop::sample::select(vec![-1_i64, 101_503, 101_504, 101_508]),
            0..3,
        )
    }

    prop_compose! {
        fn config()(
            mark_codes in codes(), suspend_codes in codes(),
            retries in 0_i64..4, retry_delay in 0_i64..3000,
            initial in prop_oneof![Just(-1_i64), Just(0), 1_i64..2000],
            factor in prop_oneof![Just(1.0_f32), Just(2.0), 0.1_f32..3.0, Just(-1.0)],
            maximum in prop_oneof![Just(i64::MAX), 100_i64..20_000],
        ) -> FailureConfig {
            FailureConfig { mark_codes, suspend_codes, retries, retry_delay, initial, factor, maximum, ..FailureConfig::default() }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_model(
            config in config(),
            retries in prop::option::of(0_u32..4), recursive_retries in prop::option::of(0_u32..4),
            events in prop::collection::vec(event(), 0..60),
        ) {
            let caps = Caps { retries, suspend: 700, recursive_retries, recursive_suspend: 900 };
            let (mut state, mut model) = (State::default(), Model::new());
            let mut now = 1_000_u64;
            for event in events {
                let at = i64::try_from(now).unwrap();
                let mut change = Change::None;
                model.did.clear();
                match &event {
                    Event::Fail { code, group } => {
                        let number = u32::try_from(*code).unwrap();
                        change = state.on_failure(&config, &caps, *group, number, now);
                        model.fail(&config, &caps, *group, *code, at);
                    }
                    Event::Succeed => {
                        change = state.on_success();
                        model.succeed(&config);
                    }
                    Event::Wait(ms) => now += ms,
                    Event::Switch(on) => {
                        state.switch(*on);
                        model = Model { state: if *on { "ACTIVE" } else { "MAINTNENCE" }, ..Model::new() };
                    }
                }
                let at = i64::try_from(now).unwrap();
                let did = words(&change);
                prop_assert_eq!(did.as_str(), model.did.as_str(), "after {:?}", event);
                prop_assert_eq!(state.phase.word(), model.state, "after {:?}", event);
                prop_assert_eq!(state.is_ready(now), model.ready(at), "after {:?}", event);
                if matches!(state.phase, Phase::Timeout | Phase::Suspended) {
                    prop_assert_eq!(i64::try_from(state.next_retry).unwrap(), model.next_retry, "after {:?}", event);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_ready_agrees_with_time(
            events in prop::collection::vec((0u8..4, 0u64..100_000, any::<i32>()), 0..40),
            initial in any::<i32>(), factor in any::<f32>(), maximum in any::<i64>(), retries in -3i64..5,
        ) {
            let config = FailureConfig {
                initial: i64::from(initial), factor, maximum, retries,
                mark_codes: vec![101_504], ..FailureConfig::default()
            };
            let mut state = State::default();
            for (event, now, code) in events {
                match event {
                    0 => { state.on_success(); }
                    1 => { state.on_failure(&config, &Caps::default(), false, 101_504, now); }
                    2 => { state.on_failure(&config, &Caps::default(), code % 2 == 0, code.unsigned_abs(), now); }
                    _ => { state.switch(code % 2 == 0); }
                }
                if matches!(state.phase, Phase::Timeout | Phase::Suspended) {
                    prop_assert!(state.is_ready(state.next_retry));
                }
            }
        }
    }
}
