"""The host's side of a program: building it, loading it, copying to it and from it, and its tools.

`program.build` goes from a layout file to what a machine loads; `cslc.main` is its command line;
`runtime.SdkRuntime` drives a machine as the vendor's class of that name drives a wafer; `site/` holds
the modules `cerebras.*` that published scripts import, which are thin names for what is here.
"""
