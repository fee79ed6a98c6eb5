//! What does and does not build, and code that is not in the main program: shown by running the compiler.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The library as it was built for this test.
fn library() -> PathBuf {
    let folder = dependencies();
    let libraries = std::fs::read_dir(&folder).unwrap().flatten().filter(|entry| {
        let name = entry.file_name().into_string().unwrap_or_default();
        name.starts_with("libbrigade-") && name.ends_with(".rlib")
    });
    let newest = libraries.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    newest.expect("cargo builds the library before its tests").path()
}

fn dependencies() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// Compiles `source`, wholly: what is generic is checked only where it is used.
fn compile(source: &str, kind: &str, output: &Path) -> Output {
    let file = output.with_extension("rs");
    std::fs::write(&file, source).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "--crate-name=fixture", "--crate-type", kind, "-C", "debuginfo=0"]);
    if !cfg!(debug_assertions) {
        // In a release build the library is there for the linker's optimizer only.
        command.args(["-C", "lto=thin", "-C", "opt-level=1"]);
    }
    command.arg("-L").arg(format!("dependency={}", dependencies().display()));
    command.arg("--extern").arg(format!("brigade={}", library().display()));
    command.arg("-o").arg(output).arg(&file).output().unwrap()
}

fn program(body: &str) -> String {
    format!("fn main() -> Result<(), Box<dyn std::error::Error>> {{ {body} Ok(()) }}")
}

#[test]
fn a_closure_builds_only_if_it_captures_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("program");
    let built = compile(&program("assert_eq!(brigade::spawn(3, |n: i32| n + 1)?.join()?, 4);"), "bin", &output);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert!(Command::new(&output).status().unwrap().success(), "a program without init() does not work");

    let refused = [
        ("let n = 3_i32; brigade::spawn((), move |()| n)?;", "pass them in the arguments", "E0080"),
        ("let n = 3_i32; brigade::spawn((), |()| n)?;", "may outlive the current function", "E0373"),
        (
            "let s = String::new(); brigade::spawn((), move |()| s.len())?;",
            "`Copy` is not implemented for `String`",
            "E0277",
        ),
        (
            "let n = 3_i32; let p = brigade::Pool::new(1)?; p.apply((), move |()| n)?;",
            "pass them in the arguments",
            "E0080",
        ),
    ];
    for (body, words, code) in refused {
        let built = compile(&program(body), "bin", &output);
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(!built.status.success(), "it builds: {body}");
        assert!(said.contains(words), "{body}: {said}");
        assert!(said.contains(&format!("error[{code}]")), "{body}: {said}");
    }
}

#[test]
fn a_function_in_a_loaded_library_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (library, host) = (folder.path().join("libfixture.so"), folder.path().join("host"));
    let in_library = r#"
        #[unsafe(no_mangle)]
        extern "C" fn run() -> i32 {
            let refused = brigade::spawn((), |()| ());
            let is_refused = matches!(refused, Err(brigade::SpawnError::NotInMainProgram));
            // Its own threads, children and descriptors: there must be none of ours.
            let n_threads = std::fs::read_dir("/proc/self/task").unwrap().count();
            if is_refused && n_threads == 1 && brigade::active_children().is_empty() { 0 } else { 1 }
        }
    "#;
    let built = compile(in_library, "cdylib", &library);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let in_host = r#"
        use std::ffi::{CStr, CString, c_char, c_int, c_void};
        unsafe extern "C" {
            fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
            fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
        }
        fn main() {
            let name = CString::new(std::env::args().nth(1).unwrap()).unwrap();
            let library = unsafe { dlopen(name.as_ptr(), 2) };
            assert!(!library.is_null());
            let name: &CStr = c"run";
            let run = unsafe { dlsym(library, name.as_ptr()) };
            assert!(!run.is_null());
            let run: extern "C" fn() -> i32 = unsafe { std::mem::transmute(run) };
            std::process::exit(run());
        }
    "#;
    let built = compile(in_host, "bin", &host);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let output = Command::new("timeout").args(["20"]).arg(&host).arg(&library).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
