"""Sends one notification through Apprise's plugins to a recording server.

Usage: apprise_send.py http://127.0.0.1:PORT TEXT. Only addresses are changed, so that what a plugin sends
reaches the recorder in place of its vendor; each is preceded by a request to /begin/KIND.
"""

import sys
import urllib.request

import apprise
import requests
from apprise.plugins import pagerduty
from apprise.plugins.discord import NotifyDiscord
from apprise.plugins.slack import NotifySlack
from apprise.plugins.telegram import NotifyTelegram
from apprise.plugins.wecombot import NotifyWeComBot

base, text = sys.argv[1:]
host = base.removeprefix("http://")

NotifyDiscord.notify_url = f"{base}/api/webhooks"
NotifySlack.webhook_url = f"{base}/services"
NotifySlack.api_url = f"{base}/api/{{}}"
NotifyTelegram.notify_url = f"{base}/bot"
NotifyWeComBot.notify_url = f"{base}/cgi-bin/webhook/send?key={{key}}"

for region in pagerduty.PAGERDUTY_API_LOOKUP:
    pagerduty.PAGERDUTY_API_LOOKUP[region] = f"{base}/v2/enqueue"

# The plugin for Teams speaks TLS and nothing else.
post = requests.post
requests.post = lambda url, **rest: post(url.replace(f"https://{host}", base), **rest)

SERVICES = {
    "discord": "discord://flowhook@1234567890/hunter2hijk?footer=no&avatar=no",
    "slack": "slack://flowhook@T1JJ3T3L2/A1BRTD4JD/hunter2dnlazkcOXrIdevi7F?image=no&footer=no&blocks=no",
    "slack-api": "slack://flowhook@xoxb-1234-1234-hunter2c191d40ee098cbaae6f3523a/%23general?image=no&footer=no&blocks=no",
    "mattermost": f"mmost://{host}/hunter2hijklmnopqrstuvwxyz?image=no&mode=bot&to=4xp9fdt77pncbef59f4k1qe83o",
    "telegram": "tgram://123456789:hunter2_hijklmnop/-100123",
    "wechat": "wecombot://693a91f6-7aaa-hunter2-97a0-0ec2sifa5aaa",
    "pagerduty": "pagerduty://hunter2hunter2hunter2hunter2abcd@ABCDEF/main/eno1?image=no",
    "msteams": f"workflow://{host}/643a8392893643a8392893/hunter2_hijklmnop?image=no&wrap=yes",
}

failed = []
for kind, url in SERVICES.items():
    urllib.request.urlopen(f"{base}/begin/{kind}")
    plugin = apprise.Apprise.instantiate(url)
    if plugin is None:
        failed.append(f"{kind}: not understood")
        continue
    plugin.request_rate_per_sec = 0
    if not plugin.notify(body=text, title="", notify_type=apprise.NotifyType.WARNING):
        failed.append(f"{kind}: not sent")
print(f"apprise {apprise.__version__}")
sys.exit("; ".join(failed) or 0)
