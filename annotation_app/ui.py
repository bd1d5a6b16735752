"""The annotator's page: one Gradio component whose template, style and script are our own files.

Importing it imports gradio, which takes seconds: `annotation_app.page` does it while the server already answers.

Gradio delivers the page; the script then talks to `/api` only. So no Gradio event exists, nothing goes through its
queue, and a restart of the server or a second process is no matter.
"""

from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from markdown_it import MarkdownIt

from annotation_app.study import Study

_STATIC = Path(__file__).parent / "static"


def trial_page(study: Study) -> gr.HTML:
    """The whole trial in one component."""
    return gr.HTML(
        value="",
        html_template=(_STATIC / "trial.html")
        .read_text()
        .replace("@consent@", as_html(study.protocol.consent))
        .replace("@instructions@", as_html(study.protocol.instructions)),
        css_template=(_STATIC / "trial.css").read_text(),
        js_on_load=(_STATIC / "trial.js").read_text(),
        elem_id="trial",
        apply_default_css=False,
    )


def as_html(markdown: str) -> str:
    """Markdown as HTML; HTML in it, and what Gradio's templates would run, is shown as text."""
    html: str = MarkdownIt("commonmark", {"html": False}).render(markdown)
    for sign in "$`{}\\":
        html = html.replace(sign, f"&#{ord(sign)};")
    return html


def page_app(study: Study) -> FastAPI:
    """The page at `/`, with everything of Gradio that a study does not need switched off."""
    with gr.Blocks(title=study.name, analytics_enabled=False, fill_width=True) as page:
        trial_page(study)
    page.queue(api_open=False)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size=1,
        app_kwargs={"openapi_url": None, "docs_url": None, "redoc_url": None},
        css=(_STATIC / "page.css").read_text(),
    )
    return mounted
