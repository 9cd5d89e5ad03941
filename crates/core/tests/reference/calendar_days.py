"""Writes calendar_days.json: reference days of the calendar.

Libraries: sxtwl 2.0.7 and lunardate 0.3.0 (lunar calendar, solar terms), chinesecalendar 1.11.0 (the State Council's
notices), holidays 0.109 (other public holidays), python-dateutil (Easter).

lunardate is one day off in a month of each of the years in LUNARDATE_DIFFERS, where the new moon falls within minutes of
midnight or the calendar of the time was reckoned elsewhere; sxtwl follows the Purple Mountain Observatory. For all other
days of 1900-01-31 to 2099 both are required to agree.
"""

import json
import sys
from datetime import date, timedelta

import chinese_calendar.constants as notices
import holidays
import sxtwl
from dateutil.easter import easter
from lunardate import LunarDate

LUNARDATE_DIFFERS = {1933, 1954, 1978}

lunar, terms, day = {}, {}, date(1900, 1, 1)
while day <= date(2101, 1, 28):
    x = sxtwl.fromSolar(day.year, day.month, day.day)
    if x.hasJieQi() and x.getJieQi() in (0, 7) and day.year <= 2100:
        terms.setdefault(day.year, {})["winter_solstice" if x.getJieQi() == 0 else "qingming"] = day.day
    if day >= date(1900, 1, 31):
        year, month, of_month = x.getLunarYear(), x.getLunarMonth(), x.getLunarDay()
        this = lunar.setdefault(year, {"new_year": str(day), "months": [], "days": []})
        if of_month == 1:
            this["months"].append(-month if x.isLunarLeap() else month)
            this["days"].append(0)
        this["days"][-1] += 1
        if year < 2100 and year not in LUNARDATE_DIFFERS:
            l = LunarDate.from_solar_date(day.year, day.month, day.day)
            assert (l.year, l.month, l.day) == (year, month, of_month), (day, l)
    day += timedelta(1)

china = {"off": [], "worked": []}
day = date(2004, 1, 1)
while day <= date(2026, 12, 31):
    if day in notices.holidays and day.weekday() < 5:
        china["off"].append(str(day))
    if day in notices.workdays and day.weekday() >= 5:
        china["worked"].append(str(day))
    day += timedelta(1)

public = {}
for region, subdivision in [("US", None), ("GB", "ENG"), ("DE", None), ("JP", None), ("FR", None)]:
    found = holidays.country_holidays(region, subdiv=subdivision, years=range(2009, 2032))
    public[region] = sorted(str(d) for d in found if 2010 <= d.year <= 2030)

out = {
    "lunar": {str(y): [v["new_year"], v["months"], v["days"]] for y, v in lunar.items()},
    "qingming": [terms[y]["qingming"] for y in range(1900, 2101)],
    "winter_solstice": [terms[y]["winter_solstice"] for y in range(1900, 2101)],
    "china": china,
    "public": public,
    "easter": {str(y): str(easter(y)) for y in range(1600, 2401, 7)},
}
with open(sys.argv[1] if len(sys.argv) > 1 else "calendar_days.json", "w") as f:
    lines = []
    for key, value in out.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            lines.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    f.write("{\n" + ",\n".join(lines) + "\n}\n")
