/** The answers of the server under short names. */
import type { components } from './schema'

type S = components['schemas']

export type Role = 'viewer' | 'analyst' | 'operator' | 'admin'
export type Scope =
  | 'trends' | 'forecasts' | 'prices' | 'recommendations' | 'learn' | 'events' | 'features' | 'shop' | 'models' | 'jobs'
  | 'experiments' | 'monitor' | 'keys' | 'audit'

export type Me = S['Me']
export type Trend = S['TrendWire']
export type Driver = S['DriverWire']
export type TrendsAnswer = S['TrendsAnswer']
export type TrendAnswer = S['TrendAnswer']
export type Direction = S['DirectionParam']
export type Group = S['GroupParam']
export type Target = S['TargetParam']
export type SeriesForecast = S['SeriesWire']
export type ForecastsAnswer = S['ForecastsAnswer']
export type FittedAnswer = S['FittedAnswer']
export type PricesAnswer = S['PricesAnswer']
export type PriceSeries = S['PriceWire']
export type RecommendationsAnswer = S['RecommendationsAnswer']
export type Surface = S['SurfaceParam']
export type Model = S['Model']
export type ModelVersion = S['ModelVersion']
export type Moved = S['Moved']
export type Compared = S['Compared']
export type Job = S['Job']
export type JobShown = S['JobShown']
export type JobStep = S['JobStep']
export type LogLine = S['LogLine']
export type Pipeline = S['PipelineShown']
export type Key = S['Key']
export type KeyMade = S['KeyMade']
export type AuditEntry = S['AuditEntry']
export type AuditChecked = S['AuditChecked']
export type Overview = S['OverviewAnswer']
export type Measure = S['MeasureWire']
export type History = S['HistoryAnswer']
export type Product = S['ProductWire']
export type Products = S['ProductsAnswer']
export type Quality = S['QualityAnswer']
export type Finding = S['FindingWire']
export type Override = S['OverrideWire']
