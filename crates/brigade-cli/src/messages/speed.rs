//! What is said about how much of the machine a copy takes.

use crate::language::Language;

catalogue! {
    rate_form():
        "it takes bytes per second, as in 500K, 1.5M or 2G",
        "应为每秒字节数，例如 500K、1.5M 或 2G";
    nice_range(): "it takes a whole number from -20 to 19", "应为 -20 到 19 的整数";
    refused_nice(): "cannot give the workers this nice value", "无法给工作进程设置这个 nice 值";
}
