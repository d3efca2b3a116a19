//! Asks the processor to bring memory near before it is needed.

use shared::model::flow::L7Info;

/// Brings the cache line that `at` points to near. Only a hint: any address is allowed.
#[inline(always)]
#[allow(unsafe_code, reason = "no safe form of the instruction is stable")]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction never faults and reads nothing that the program can see, whatever the
    // address; it needs SSE, which every x86-64 processor has.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Brings the parts of a flow's application data near. To be asked in time before its texts.
pub(super) fn prefetch_parts(info: &L7Info) {
    if let Some(dns) = &info.dns {
        prefetch_all(&raw const **dns);
    }
    if let Some(http) = &info.http {
        prefetch_all(&raw const **http);
    }
    if let Some(tls) = &info.tls {
        prefetch_all(&raw const **tls);
    }
}

/// Brings the texts that most flows have near, once the parts are.
pub(super) fn prefetch_texts(info: &L7Info) {
    if let Some(dns) = &info.dns {
        prefetch(dns.query.as_ptr());
    }
    if let Some(http) = &info.http {
        for text in [&http.method, &http.host, &http.url, &http.user_agent, &http.content_type, &http.server]
        {
            prefetch(text.as_ptr());
        }
    }
    if let Some(tls) = &info.tls {
        for text in [&tls.sni, &tls.alpn, &tls.alpns, &tls.ja3, &tls.ja3s, &tls.ja4] {
            prefetch(text.as_ptr());
        }
    }
}

/// Brings every line of `value` near.
#[inline(always)]
pub(crate) fn prefetch_all<T>(value: *const T) {
    let start: *const u8 = value.cast();
    for line in (0..size_of::<T>()).step_by(64) {
        prefetch(start.wrapping_add(line));
    }
}
