//! Begins traces: whose they are, whether they are written down, and when what happened.
//!
//! One [`Tracer`] for each door of each thread. What spans tell stands in `http_spans` and `isproxy_spans`.

use std::rc::Rc;

use tokio::time::Instant;

use super::context::{Sampling, SpanId, TraceContext, TraceId};
use super::span::Parent;
use super::writer::SpanWriter;
use crate::clock::Clock;
use crate::config::{Traces, TrustIncoming};
use crate::model::SampleRatio;

/// Begins and ends the traces of one door, as the configuration in force wants them.
#[derive(Debug)]
pub struct Tracer {
    pub(super) writer: Rc<SpanWriter>,
    ratio: SampleRatio,
    trust_incoming: TrustIncoming,
    clock: Clock,
}

/// One request or session in its trace, from its beginning to its end.
#[derive(Debug)]
pub struct Trace {
    pub(super) context: TraceContext,
    pub(super) parent: Parent,
    /// The span of what is asked of an upstream.
    pub(super) upstream_span: SpanId,
    /// `None`: it is not written down, so that no clock need be read.
    pub(super) course: Option<Course>,
}

/// What happened when, in nanoseconds since 1970.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) start: u64,
    began: Instant,
    pub(super) decided: Option<u64>,
    pub(super) upstream_asked: Option<u64>,
    pub(super) upstream_answered: Option<u64>,
    /// `None`: there was no answer.
    pub(super) upstream_status: Option<u16>,
    /// The path of the route that was taken.
    pub(super) route: Option<Rc<str>>,
}

impl Tracer {
    /// A tracer as `traces` says, whose spans go into `writer`.
    pub fn new(writer: &Rc<SpanWriter>, traces: &Traces, clock: Clock) -> Self {
        let Traces { sample_ratio, trust_incoming, .. } = traces;
        Self { writer: Rc::clone(writer), ratio: *sample_ratio, trust_incoming: *trust_incoming, clock }
    }

    /// Whose word about a trace is believed.
    pub const fn trust_incoming(&self) -> TrustIncoming {
        self.trust_incoming
    }

    /// Begins with a request or a session; `asking` is the span that it is part of, where whoever says so is believed.
    ///
    /// Such a one decides whether the trace is written down, since half a trace is of no use.
    pub fn begin(&self, asking: Option<TraceContext>) -> Trace {
        let ids = &self.writer.ids;
        let trace_id = asking.map_or_else(|| ids.next_trace(), |asking| asking.trace_id);
        let sampling = asking.map_or_else(|| self.draw(trace_id), |asking| asking.sampling);
        let course = (sampling == Sampling::Kept).then(|| Course {
            start: self.clock.unix_nanoseconds(),
            began: Instant::now(),
            decided: None,
            upstream_asked: None,
            upstream_answered: None,
            upstream_status: None,
            route: None,
        });
        Trace {
            context: TraceContext { trace_id, span_id: ids.next_span(), sampling },
            parent: asking.map_or(Parent::None, |asking| Parent::Remote(asking.span_id)),
            upstream_span: ids.next_span(),
            course,
        }
    }

    fn draw(&self, trace_id: TraceId) -> Sampling {
        if self.ratio.takes(trace_id.lowest_bits()) { Sampling::Kept } else { Sampling::Left }
    }
}

impl Trace {
    /// The trace's name.
    pub const fn id(&self) -> TraceId {
        self.context.trace_id
    }

    /// What an upstream is told in `traceparent`.
    pub fn traceparent(&self) -> [u8; 55] {
        TraceContext { span_id: self.upstream_span, ..self.context }.to_ascii()
    }

    /// Is it part of a trace that somebody else began?
    pub const fn is_continued(&self) -> bool {
        matches!(self.parent, Parent::Remote(_))
    }

    /// The credential was judged.
    pub fn decided(&mut self) {
        if let Some(course) = &mut self.course {
            course.decided = Some(course.now());
        }
    }

    /// It is about to go to an upstream, by the route with this path.
    pub fn goes_upstream(&mut self, route: &Rc<str>) {
        if let Some(course) = &mut self.course {
            course.upstream_asked = Some(course.now());
            course.route = Some(Rc::clone(route));
        }
    }

    /// The upstream's answer has begun, with this status; or it is known that none comes.
    pub fn upstream_answered(&mut self, status: Option<u16>) {
        if let Some(course) = &mut self.course {
            course.upstream_answered = Some(course.now());
            course.upstream_status = status;
        }
    }
}

impl Course {
    /// The present moment, by the clock that never jumps.
    pub(super) fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.start.saturating_add(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::tracer;
    use super::*;

    const ASKING: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn asking(flags: &str) -> Option<TraceContext> {
        TraceContext::parse(ASKING.replace("-01", flags).as_bytes())
    }

    #[test]
    fn a_share_of_the_traces_that_begin_here_is_written_down() {
        for (ratio, least, most) in [(0.0, 0, 0), (0.01, 50, 150), (0.5, 4_800, 5_200), (1.0, 10_000, 10_000)]
        {
            let (tracer, _received) = tracer(ratio);
            let kept = (0..10_000).filter(|_| tracer.begin(None).course.is_some()).count();
            assert!((least..=most).contains(&kept), "{ratio}: {kept}");
        }
    }

    #[test]
    fn whoever_began_a_trace_decides_whether_it_is_written_down() {
        for (ratio, flags, is_kept) in [(1.0, "-00", false), (0.0, "-01", true), (0.0, "-00", false)] {
            let trace = tracer(ratio).0.begin(asking(flags));
            assert_eq!(trace.course.is_some(), is_kept, "{ratio} {flags}");
            assert!(trace.is_continued());
            assert_eq!(trace.id(), asking("-01").unwrap().trace_id);
            let told = TraceContext::parse(&trace.traceparent()).unwrap();
            assert_eq!((told.trace_id, told.span_id), (trace.id(), trace.upstream_span));
            assert_eq!(told.sampling, trace.context.sampling);
            assert_ne!(told.span_id, trace.context.span_id);
        }
    }

    #[test]
    fn traces_of_our_own_have_names_of_their_own() {
        let (tracer, _received) = tracer(1.0);
        let (one, other) = (tracer.begin(None), tracer.begin(None));
        assert_ne!(one.id(), other.id());
        assert!(!one.is_continued());
        assert_eq!(one.parent, Parent::None);
    }
}
