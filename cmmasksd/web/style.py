"""How the page looks: system fonts, quiet colours, light and dark."""

from __future__ import annotations

from gradio.themes import Base, colors, sizes

FONT = ('ui-sans-serif', 'system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'Helvetica Neue', 'sans-serif')
MONOSPACE = ('ui-monospace', 'SFMono-Regular', 'Menlo', 'Consolas', 'monospace')

CSS = """
.gradio-container { box-sizing: border-box; width: 100% !important; max-width: 1320px !important;
  margin: 0 auto !important; padding: 20px 24px 32px !important; }
.gradio-container .main.app { padding: 0 !important; max-width: none !important; }
#top, #top .html-container, #bottom, #bottom .html-container { padding: 0 !important; }
#top h1 { font-size: 1.6rem; font-weight: 650; letter-spacing: -0.02em; margin: 0 0 4px; }
#top p { color: var(--body-text-color-subdued); margin: 0; line-height: 1.5; }
#waiting { border: 1px dashed var(--border-color-primary); border-radius: var(--radius-lg); min-height: 420px;
  display: flex; align-items: center; justify-content: center; text-align: center; padding: 24px; }
#waiting p { color: var(--body-text-color-subdued); margin: 0 auto; max-width: 40ch; line-height: 1.6; }
#waiting strong { display: block; color: var(--body-text-color); font-size: 1.05rem; margin-bottom: 4px; }
#bottom p { color: var(--body-text-color-subdued); font-size: 0.8rem; margin: 4px 0 0; }
#sentences textarea, #sentences-many textarea { line-height: 1.6; }
/* labels stand above pictures, not on them */
#masks, #correlation, #examples { padding-top: 30px !important; }
#examples .grid-wrap { min-height: 0; padding: 8px; }
#examples .thumbnail-lg { aspect-ratio: 4 / 3; }
input[type=range]::-webkit-slider-thumb { border: 2px solid var(--slider-color) !important; }
input[type=range]::-moz-range-thumb { border: 2px solid var(--slider-color) !important; }
/* what went wrong is said in the message; the last answer stays in view */
.wrap:has(> span.error) { display: none !important; }
.toast-title.error { font-size: 0 !important; }
.toast-title.error::after { content: "That did not work"; font-size: var(--text-lg); }
@media (max-width: 640px) {
  .gradio-container { padding: 14px 12px 24px !important; }
  #top h1 { font-size: 1.35rem; }
  #waiting { min-height: 140px; }
}
"""


def make_theme() -> Base:
    """The page's theme; its fonts are the system's, so none is fetched."""
    return Base(
        primary_hue=colors.teal,
        secondary_hue=colors.teal,
        neutral_hue=colors.slate,
        radius_size=sizes.radius_md,
        text_size=sizes.text_md,
        font=FONT,
        font_mono=MONOSPACE,
    ).set(
        body_background_fill='*neutral_50',
        body_background_fill_dark='*neutral_950',
        body_text_color_subdued='*neutral_500',
        block_shadow='none',
        block_border_width='1px',
        block_label_text_size='*text_sm',
        button_primary_background_fill='*primary_700',
        button_primary_background_fill_hover='*primary_800',
        button_primary_background_fill_dark='*primary_600',
        button_primary_background_fill_hover_dark='*primary_500',
        button_primary_text_color='white',
        slider_color='*primary_600',
    )
